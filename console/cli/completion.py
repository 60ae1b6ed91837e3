"""qd completion: what bash, zsh and fish need to complete commands, options and names, from the parser itself."""

from __future__ import annotations

import argparse
import re
import sys
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import dataclass

NAMES = {"HOST": "hosts", "GUEST": "guests", "HOST|GUEST": "all", "JOB": "jobs"}
"""What a positional argument of this name is completed with; see `names`."""

FILES = frozenset({"DIR"})


@dataclass(frozen=True, slots=True)
class Level:
    """What can follow some words ("guest", "create"). words: (word, help) of commands and choices.

    names: what `qd __names` lists for the arguments here, "" for none. valued: options that take a value, with
    what completes it: choices, "@hosts" for names, "@files" for files, nothing for free text.
    """

    path: tuple[str, ...]
    words: tuple[tuple[str, str], ...]
    options: tuple[tuple[str, str], ...]
    valued: dict[str, tuple[str, ...]]
    names: str
    groups: bool


def levels(parser: argparse.ArgumentParser, path: tuple[str, ...] = ()) -> Iterator[Level]:
    """Yield every level of the parser, the outermost first."""
    words: list[tuple[str, str]] = []
    options: list[tuple[str, str]] = []
    valued: dict[str, tuple[str, ...]] = {}
    names = ""
    below: list[tuple[str, argparse.ArgumentParser]] = []
    for action in parser._actions:
        about = (action.help or "").replace("%%", "%")
        if isinstance(action, argparse._SubParsersAction):
            helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
            words += [(name, helps[name]) for name in action.choices if name in helps]
            below += [(name, action.choices[name]) for name in action.choices if name in helps]
        elif action.option_strings:
            options += [(option, about) for option in action.option_strings]
            if action.nargs != 0:
                valued |= dict.fromkeys(action.option_strings, _values(action))
        elif action.choices:
            words += [(str(choice), "") for choice in action.choices]
        metavar = str(action.metavar or action.dest).upper()
        if not action.option_strings and metavar in NAMES:
            names = NAMES[metavar]
        elif not action.option_strings and metavar == "NAME" and path[:1] == ("host",) and path != ("host", "add"):
            names = "hosts"
    yield Level(path, tuple(words), tuple(options), valued, names, groups=bool(below))
    for name, sub in below:
        yield from levels(sub, (*path, name))


def _values(action: argparse.Action) -> tuple[str, ...]:
    if action.choices:
        return tuple(str(choice) for choice in action.choices)
    if "--host" in action.option_strings:
        return ("@hosts",)
    return ("@files",) if action.metavar in FILES else ()


def completion(options: Namespace) -> int:
    """qd completion bash|zsh|fish: print the shell's script."""
    from console.cli.parser import build

    found = list(levels(build()))
    print({"bash": bash, "zsh": zsh, "fish": fish}[options.shell](found), end="")
    return 0


def names(options: Namespace) -> int:
    """qd __names hosts|guests|all|jobs: names for completion, from the files alone; nothing when they have mistakes."""
    from console.domain.errors import FleetError
    from console.inventory.files import read_inventory
    from console.services.jobs import Jobs
    from console.wiring import inventory_folder

    folder = inventory_folder(options.inventory)
    try:
        fleet = read_inventory(folder).fleet
    except FleetError:
        return 0  # a shell that completes is no place for errors
    found: list[str] = []
    if options.what == "jobs":
        found += ["last", *(job.id for job in Jobs(folder).read())]
    if options.what in ("hosts", "all"):
        found += fleet.hosts
    if options.what in ("guests", "all"):
        every = [(host.name, guest) for host in fleet.hosts.values() for guest in host.guests]
        short = [guest for _, guest in every]
        found += [guest for guest in short if short.count(guest) == 1]
        found += [f"{host}/{guest}" for host, guest in every]
    sys.stdout.write("".join(f"{name}\n" for name in found))
    return 0


def bash(found: list[Level]) -> str:
    """Return the script for bash."""
    cases = []
    for level in found:
        plain = [word for word, _ in (*level.words, *level.options)]
        cases.append(f'    "{" ".join(level.path)}") words="{" ".join(plain)}"; names="{level.names}" ;;')
    paths = " ".join(f'"{" ".join(level.path)}"' for level in found if level.path)
    return f"""\
# Completion of qd for bash. In ~/.bashrc: source <(qd completion bash)
_qd() {{
  local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}} at="" word words names value="" skip=""
  local -a inventory=()
  local i
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=${{COMP_WORDS[i]}}
    if [ "$word" = --inventory ]; then inventory=(--inventory "${{COMP_WORDS[i+1]}}"); i=$((i + 1)); continue; fi
    case " {paths.replace('"', "|").replace("| |", "|")} " in
      *"|${{at:+$at }}$word|"*) at="${{at:+$at }}$word" ;;
    esac
  done
  case "$at" in
{chr(10).join(cases)}
  esac
  case "$at:$prev" in
{chr(10).join(_bash_values(found))}
  esac
  if [ -n "$value" ]; then
    case "$value" in
      @files) compopt -o filenames 2>/dev/null; local IFS=$'\\n'; COMPREPLY=( $(compgen -f -- "$cur") ); return ;;
      @*) words=$("${{COMP_WORDS[0]}}" "${{inventory[@]}}" __names "${{value#@}}" 2>/dev/null) ;;
      -) return ;;
      *) words=$value ;;
    esac
  elif [ -n "$names" ] && [[ $cur != -* ]]; then
    words="$words $("${{COMP_WORDS[0]}}" "${{inventory[@]}}" __names "$names" 2>/dev/null)"
  fi
  COMPREPLY=( $(compgen -W "$words" -- "$cur") )
}}
complete -F _qd qd
"""


def _bash_values(found: list[Level]) -> list[str]:
    return [
        f'    "{" ".join(level.path)}:{option}") value="{" ".join(values) or "-"}" ;;'
        for level in found
        for option, values in level.valued.items()
    ]


def zsh(found: list[Level]) -> str:
    """Return the script for zsh: bash's, through zsh's own bridge."""
    body = bash(found).partition("\n")[2]
    return f"""\
#compdef qd
# Completion of qd for zsh. In ~/.zshrc, after compinit: source <(qd completion zsh)
autoload -U +X bashcompinit && bashcompinit
{body}"""


def fish(found: list[Level]) -> str:
    """Return the script for fish."""
    lines = [
        "# Completion of qd for fish. Write it to ~/.config/fish/completions/qd.fish",
        "function __qd_words",
        "    set -l words (commandline -opc)[2..-1]",
        "    string match -v -- '-*' $words",
        "end",
        "function __qd_at",
        '    test "$(__qd_words)" = "$(string split \' \' -- $argv)"',
        "end",
        "function __qd_below",
        "    set -l words (__qd_words)",
        "    set -l last (count $argv)",
        '    test (count $words) -ge $last; and test "$words[1..$last]" = "$argv"',
        "end",
        "complete -c qd -f",
    ]
    return "\n".join(lines + [line for level in found for line in _fish_level(level)]) + "\n"


def _fish_level(level: Level) -> Iterator[str]:
    # What comes after the last command may be anything; before that the words must be exactly these.
    how = "__qd_at" if level.words and level.groups else "__qd_below"
    when = f"{how} {' '.join(level.path)}" if level.path else "__fish_use_subcommand"
    for word, about in level.words:
        yield f"complete -c qd -n {_quoted(when)} -a {_quoted(word)} -d {_quoted(about)}"
    if level.names:
        yield f"complete -c qd -n {_quoted(when)} -a {_quoted(f'(qd __names {level.names})')}"
    for option, about in level.options:
        name = f"-l {option[2:]}" if option.startswith("--") else f"-s {option[1:]}"
        values = level.valued.get(option)
        takes = ""
        if values is not None:
            takes = " -r -F" if values == ("@files",) else " -x"
            if values and values[0].startswith("@") and values != ("@files",):
                takes += f" -a {_quoted(f'(qd __names {values[0][1:]})')}"
            elif values and values != ("@files",):
                takes += f" -a {_quoted(' '.join(values))}"
        yield f"complete -c qd -n {_quoted(when)} {name}{takes} -d {_quoted(about)}"


def _quoted(text: str) -> str:
    return "'" + re.sub(r"(['\\])", r"\\\1", text) + "'"
