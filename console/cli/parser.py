"""The command line: what can be written, and the module that runs it (imported only then)."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable, Sequence
from typing import Any

import console

CARD_STATES = ("free", "taken", "kept", "screen", "needed", "driven")
"""Those of console.services.devices.CardState, which `qd --help` must not wait for."""

EPILOG = """\
The inventory is the folder given by --inventory, else QUARTERDECK_INVENTORY, else
$XDG_CONFIG_HOME/quarterdeck/inventory. Exit status: 0 done, 1 refused or failed, 2 wrong usage.
Without a command, qd opens the console; qd --read-only opens one that changes nothing.
"""


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the parsed options; `run` is the function that carries the command out. Exits 2 on wrong usage.

    looks: the command changes nothing, so that a read-only console has it. command: what it is called.
    """
    parser = build()
    options, rest = parser.parse_known_args(arguments)
    # argparse takes the words before an option only: "list -l gpu web" would be refused.
    if rest and hasattr(options, "words") and not any(word.startswith("-") for word in rest):
        options.words += rest
    elif rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if not hasattr(options, "inventory"):
        options.inventory = None
    if not hasattr(options, "read_only"):
        options.read_only = False
    # A command must say that it looks: one that nobody thought of is refused.
    options.looks = options.looks or options.run is OPEN_CONSOLE
    return options


def build() -> argparse.ArgumentParser:
    """Return the whole parser."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--inventory", metavar="DIR", default=argparse.SUPPRESS, help="the inventory's folder")
    common.add_argument(
        "--read-only", action="store_true", default=argparse.SUPPRESS, help="only look: whatever changes is refused"
    )
    common.add_argument("--theme", metavar="NAME", default=argparse.SUPPRESS, help="the colours of the screens")
    parser = argparse.ArgumentParser(
        prog="qd",
        description="A console for a fleet of NixOS hypervisors.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[common],
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"qd {console.__version__}")
    parser.set_defaults(run=OPEN_CONSOLE, looks=False, command="qd")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    def command(into: Any, name: str, text: str, module: str, function: str) -> argparse.ArgumentParser:
        made: argparse.ArgumentParser = into.add_parser(
            name, help=text, description=text, parents=[common], allow_abbrev=False
        )
        made.set_defaults(run=_late(module, function), command=made.prog)
        return made

    demo = command(commands, "demo", "open the console on the demo fleet", "fleet", "demo")
    demo.add_argument("--fresh", action="store_true", help="begin with a new copy of the demo")
    demo.add_argument("--path", action="store_true", help="print the demo's inventory folder instead")
    init = command(commands, "init", "make a new inventory", "files", "init")
    init.add_argument("folder", metavar="DIR")
    init.add_argument("--name", help="the fleet's name (default: the folder's)")
    init.add_argument("--shared", metavar="GROUP", help="for all members of this group of the machine")
    _looks(command(commands, "dashboard", "show the fleet on a spare screen, read-only", "fleet", "dashboard"))
    _looks(command(commands, "check", "check the inventory's files", "files", "check"))
    _json(_looks(command(commands, "status", "show the fleet in short", "fleet", "status")))
    plan = _json(_looks(command(commands, "plan", "show what an apply would change", "fleet", "plan")))
    apply = command(commands, "apply", "make hosts and guests as the inventory wants them", "fleet", "apply")
    for each in (plan, apply):
        each.add_argument("what", metavar="HOST|GUEST", nargs="?", help="only this one (default: the fleet)")
    generate = command(commands, "generate", "write the generated Nix files anew", "files", "generate")
    how = generate.add_mutually_exclusive_group()
    how.add_argument("--check", action="store_true", help="write nothing; exit 1 with a diff if stale or edited")
    how.add_argument("--overwrite", action="store_true", help="also those that were edited by hand: the edits are lost")
    export = command(commands, "export", "print a host as one plain NixOS module, to do without", "files", "export")
    _looks(export).add_argument("host", metavar="HOST")
    _history(_looks(command(commands, "history", "show who changed what, and when", "history", "history")), common)
    undo = command(commands, "undo", "undo the last change of the inventory", "history", "undo")
    undo.add_argument("--plan", action="store_true", help="only show what it would do")
    completion = command(commands, "completion", "print the completion script of a shell", "completion", "completion")
    _looks(completion).add_argument("shell", choices=["bash", "zsh", "fish"])
    # For those scripts alone: without a help text it is not listed.
    names = commands.add_parser("__names", parents=[common], allow_abbrev=False)
    names.add_argument("what", choices=["hosts", "guests", "all", "jobs"])
    _looks(names).set_defaults(run=_late("completion", "names"))
    _json(command(commands, "doctor", "say what is wrong on this machine, and how to mend it", "doctor", "doctor"))
    _jobs(_group(commands, "job", "list, follow, end and finish what is carried out", common), command)
    _gpus(
        _group(commands, "gpu", "list, show and keep the fleet's cards, and check what a guest would run into", common),
        command,
    )
    _hosts(_group(commands, "host", "add, list, show, change and remove hosts", common), command)
    _users(_group(commands, "user", "add, list, change and remove people with access", common), command)
    _guests(_group(commands, "guest", "create, list, show, change, switch and remove guests", common), command)
    return parser


def _history(history: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    _json(history).add_argument("-n", dest="limit", type=int, default=20, metavar="N", help="how many (default: 20)")
    into = history.add_subparsers(title="commands", metavar="COMMAND")
    text = "show what one of them did to the files"
    show = into.add_parser("show", help=text, description=text, parents=[common], allow_abbrev=False)
    show.add_argument("commit", metavar="COMMIT")
    _looks(show).set_defaults(run=_late("history", "show"))


def _jobs(jobs: Any, command: Command) -> None:
    _json(_looks(command(jobs, "list", "list the jobs of this inventory, whoever began them", "jobs", "list_jobs")))
    for name, text in (
        ("show", "show one job, step by step"),
        ("follow", "print what a job does until it has ended"),
        ("cancel", "have a job end between two steps"),
        ("retry", "do what a job has left that failed, was cancelled or was interrupted"),
    ):
        one = command(jobs, name, text, "jobs", name)
        one.add_argument("job", metavar="JOB", help='its id, a part of it, or "last"')
        if name == "show":
            _json(one)
        if name in ("show", "follow"):
            _looks(one)
        if name == "retry":
            one.add_argument("--plan", action="store_true", help="only show what it would do")


Command = Callable[[Any, str, str, str, str], argparse.ArgumentParser]


def _gpus(gpus: Any, command: Command) -> None:
    listing = _json(_looks(command(gpus, "list", "list the cards of the fleet", "gpus", "list_gpus")))
    text = "only those with these words in host, slot, name, driver, state or owner; !WORD: not this one"
    listing.add_argument("words", metavar="FILTER", nargs="*", default=[], help=text)
    listing.add_argument("--host", help="only those of this host")
    text = "only those that are so; may be given again"
    listing.add_argument("--state", action="append", choices=CARD_STATES, default=[], dest="states", help=text)
    show = _json(_looks(command(gpus, "show", "show one card, whole", "gpus", "show")))
    show.add_argument("card", metavar="HOST/PCI-SLOT", help='such as "vhost-a/65:00"')
    text = "also ask the guest that runs with it how much it works: its agent reads files of the guest's kernel"
    show.add_argument("--ask-guest", action="store_true", help=text)
    own = command(gpus, "own", "keep a device for its host: no guest gets it", "gpus", "keep")
    own.add_argument("--name", help="what [own] calls it (default: as now, else a free name)")
    own.add_argument("--containers", choices=["on", "off"], help="the host's containers may use it (default: off)")
    back = command(gpus, "release", "give a device back that its host kept: guests can get it", "gpus", "give_back")
    text = "say how many virtual functions (SR-IOV) a card has from its host's next boot on"
    parts = command(gpus, "vfs", text, "gpus", "part")
    for each in (own, back, parts):
        each.add_argument("card", metavar="HOST/PCI-SLOT", help='such as "vhost-a/65:00"')
        each.add_argument("--plan", action="store_true", help="only show what it would do")
    parts.add_argument("count", metavar="COUNT", help="0: none any more")
    text = "check what a guest's devices would run into; exit 1 when something stands in the way"
    check = _named(_json(_looks(command(gpus, "preflight", text, "gpus", "preflight"))))
    check.add_argument("--all", action="store_true", help="what is well, too")


def _hosts(hosts: Any, command: Command) -> None:
    add = command(hosts, "add", "add a host by its MAC address", "hosts", "add")
    add.add_argument("name", metavar="NAME")
    add.add_argument("--mac", required=True, help="the MAC address of its first network card")
    add.add_argument("--address", required=True, metavar="CIDR", help='such as "10.0.0.11/24"')
    _host_facts(add)
    _filter(_json(_looks(command(hosts, "list", "list the hosts", "hosts", "list_hosts"))))
    _json(_looks(command(hosts, "show", "show one host", "hosts", "show"))).add_argument("name", metavar="NAME")
    change = command(hosts, "set", "change a host's own facts", "hosts", "set_host")
    change.add_argument("name", metavar="NAME")
    change.add_argument("--mac")
    change.add_argument("--address", metavar="CIDR")
    _host_facts(change)
    key = command(hosts, "key", "show the SSH host key that a host offers, and pin it", "hosts", "key")
    key.add_argument("name", metavar="NAME")
    key.add_argument("--pin", metavar="FINGERPRINT", help="pin the offered key if this is its fingerprint")
    command(hosts, "remove", "remove a host without guests", "hosts", "remove").add_argument("name", metavar="NAME")


def _users(users: Any, command: Command) -> None:
    _json(_looks(command(users, "list", "list the people with access", "users", "list_users")))
    add = command(users, "add", "give a person access", "users", "add")
    change = command(users, "set", "change a person's keys, role or labels", "users", "set_user")
    for each in (add, change):
        each.add_argument("name", metavar="NAME")
        each.add_argument("--key", action="append", dest="keys", metavar="KEY", help='"ssh-ed25519 AAAA..."')
        each.add_argument("--key-file", action="append", dest="key_files", metavar="FILE", help="a .pub file")
        each.add_argument("--role", choices=["operator", "viewer"], help="default: viewer" if each is add else None)
        each.add_argument("--label", action="append", dest="labels", metavar="L", help="only on hosts with it")
    change.add_argument("--add-key", action="append", dest="more_keys", metavar="KEY", help="besides those there are")
    change.add_argument("--all-hosts", action="store_true", help="on all hosts: no labels")
    command(users, "remove", "take a person's access away", "users", "remove").add_argument("name", metavar="NAME")


def _host_facts(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--uri", help="its libvirt URI (default: qemu+ssh://root@ADDRESS/system)")
    parser.add_argument("--label", action="append", dest="labels", metavar="L", help="may be given again")
    parser.add_argument("--ssh-host-key", metavar="KEY", help='"ssh-ed25519 AAAA...", as in its .pub file')
    parser.add_argument("--disk", help="where NixOS is installed, such as /dev/disk/by-id/nvme-...")
    text = 'what it boots from the network: "installer", an entry of fleet.toml, or "" for its own disk'
    parser.add_argument("--netboot", metavar="ENTRY", help=text)


def _guests(guests: Any, command: Command) -> None:
    create = command(guests, "create", "create a guest", "guests", "create")
    create.add_argument("name", metavar="NAME")
    create.add_argument("--host", required=True, help="its home")
    create.add_argument("--vcpus", required=True, metavar="N")
    create.add_argument("--memory", required=True, metavar="SIZE", help='such as "8GiB"')
    create.add_argument("--disk", metavar="SIZE", help='size of the boot disk, such as "80GiB"')
    create.add_argument("--pool", metavar="P", help="the storage pool of the disk (default: the host's first)")
    create.add_argument("--mac", help="its MAC address (default: a new one)")
    _guest_facts(create)
    create.add_argument("--start", action="store_true", help="start it at once")
    listing = _json(_looks(command(guests, "list", "list the guests", "guests", "list_guests")))
    _filter(listing).add_argument("--host", help="only those of this host")
    _json(_named(_looks(command(guests, "show", "show one guest", "guests", "show"))))
    change = _named(command(guests, "set", "change a guest", "guests", "set_guest"))
    change.add_argument("--vcpus", metavar="N")
    change.add_argument("--memory", metavar="SIZE")
    _guest_facts(change)
    change.add_argument(
        "--apply",
        choices=["live", "next-boot", "restart"],
        default="next-boot",
        help="when a running guest gets the change (default: next-boot)",
    )
    for action, text in (
        ("start", "start guests"),
        ("shutdown", "ask guests to shut down, and wait"),
        ("force-off", "cut guests' power"),
        ("reboot", "ask guests to reboot"),
        ("reset", "press guests' reset button"),
        ("suspend", "pause guests"),
        ("resume", "let paused guests go on"),
    ):
        power = command(guests, action, text, "guests", "power")
        _many(power).set_defaults(action=action)
    autostart = _many(command(guests, "autostart", "start guests with their host, or not", "guests", "autostart"))
    autostart.add_argument("switch", choices=["on", "off"])
    remove = _named(command(guests, "remove", "remove a guest; its disks stay unless named", "guests", "remove"))
    remove.add_argument(
        "--delete-disk", action="append", default=[], metavar="DISK", help="delete this disk with its data"
    )


def _guest_facts(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--kind", choices=["plain", "nixos"], help="nixos: a machine of the flake (default: plain)")
    parser.add_argument("--network", metavar="N", help='the network of its card, or "none" (default: the first)')
    parser.add_argument("--address", metavar="CIDR", help="the address it has or is to have")
    parser.add_argument(
        "--gpu",
        metavar="PCI-SLOT|NAME|any",
        help='pass a GPU through: a slot, a resource of fleet.toml; "none" takes it away',
    )
    parser.add_argument(
        "--accept", action="append", metavar="CHECK", help='let a warning of "qd gpu preflight" stay; "none": no more'
    )
    parser.add_argument("--cpus", metavar="LIST", help='pin to these CPUs of the host, one a vCPU: "16-23"; or "none"')
    parser.add_argument("--numa", metavar="NODE", help='memory from this NUMA node of the host; or "none"')
    parser.add_argument("--hugepages", metavar="SIZE", help='memory of huge pages: "2MiB" or "1GiB"; or "none"')
    parser.add_argument(
        "--profile", choices=["generic", "windows"], help="windows: TPM, Secure Boot, Hyper-V's interfaces, drivers' CD"
    )
    parser.add_argument("--drivers", metavar="VOLUME|PATH", help="with --profile windows: the virtio-win ISO")
    parser.add_argument("--firmware", choices=["bios", "uefi"])
    parser.add_argument("--display", choices=["none", "vnc"])
    parser.add_argument("--autostart", choices=["on", "off"])
    parser.add_argument("--description", metavar="TEXT")
    source = parser.add_argument_group("boot source (default: the empty disk)").add_mutually_exclusive_group()
    source.add_argument("--iso", metavar="VOLUME|PATH", help="boot from a CD image")
    source.add_argument("--image", metavar="VOLUME", help="fill the disk from an image of the pool")
    source.add_argument("--kernel", metavar="PATH", help="boot a kernel file of the host")
    source.add_argument("--pxe", action="store_true", help="boot from the network")
    source.add_argument("--empty", action="store_true", help="boot from the disk as it is")
    parser.add_argument("--image-mode", choices=["overlay", "copy"], help="how --image is used (default: overlay)")
    parser.add_argument("--initrd", metavar="PATH", help="with --kernel")
    parser.add_argument("--cmdline", metavar="TEXT", help="with --kernel")


def _group(commands: Any, name: str, text: str, common: argparse.ArgumentParser) -> Any:
    group = commands.add_parser(name, help=text, description=text, parents=[common], allow_abbrev=False)
    return group.add_subparsers(title="commands", metavar="COMMAND", required=True)


def _named(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("name", metavar="GUEST", help='"host/guest", or "guest" when unambiguous')
    return parser


def _many(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("names", metavar="GUEST", nargs="*", help='"host/guest", or "guest" when unambiguous')
    parser.add_argument("--filter", metavar="TEXT", help="the guests that this filter finds; asks for --yes")
    parser.add_argument("--yes", type=_count, metavar="N", help="how many guests it is meant for")
    parser.add_argument("--limit", type=_count, metavar="N", help="only the first N of them")
    parser.add_argument("--stop-after", type=_count, metavar="N", help="begin no other guest after N failures")
    return parser


def _filter(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.epilog = (
        "FILTER: words that must all be found in name, label, address, state or host. !WORD: not this. "
        "state:running, host:vhost-a and -l gpu take the whole word, * stands for any letters."
    )
    parser.add_argument("words", metavar="FILTER", nargs="*", default=[], help="only those that match")
    parser.add_argument("-l", action="append", default=[], dest="labels", metavar="LABEL", help="with this label")
    parser.add_argument(
        "-f", action="append", default=[], dest="letters", metavar="LETTERS", help="fuzzy: in this order"
    )
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a count")
    return int(text)


def _looks(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.set_defaults(looks=True)
    return parser


def _json(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _late(module: str, function: str) -> Callable[[argparse.Namespace], int]:
    """Return a function that imports its module only when it is called: `qd --help` must not wait for it."""

    def run(options: argparse.Namespace) -> int:
        status: int = getattr(importlib.import_module(f"console.cli.{module}"), function)(options)
        return status

    return run


OPEN_CONSOLE = _late("fleet", "open_console")
