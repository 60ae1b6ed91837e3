"""The inventory's git repository, by the git command."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import os
import re
import shlex
import signal
import socket
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from console.domain.errors import FleetError
from console.domain.record import Commit, RepositoryState, remove_locks
from console.domain.values import shown
from console.inventory.sharing import umask_in
from console.inventory.writing import is_aside

TIMEOUT_S = 20.0

END_S = 2.0
"""So long a git that took too long has to remove its lock files."""

LOCK_S = 3.0
"""A lock that goes away within this time is that of a command at work, and nothing to tell."""

OF_ANOTHER = frozenset({"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR"})
"""What git sets for its hooks, and what would lead us to another repository than the inventory's."""

GENERATED = ("diff --git a/generated/", 'diff --git "a/generated/')
"""How the part of a diff begins that is of a generated file; git quotes a name that is not ASCII."""

MADE_BY = "Made-by"
"""The trailer of every commit that is made here: what tells it from those that people make."""

OPERATIONS = {
    "rebase-merge": "rebase",
    "rebase-apply": "rebase",
    "MERGE_HEAD": "merge",
    "CHERRY_PICK_HEAD": "cherry-pick",
    "REVERT_HEAD": "revert",
    "BISECT_LOG": "bisect",
}
"""What git keeps in its folder while it is in the middle of something."""


class Git:
    """Commits by the operator who runs the console. Never prompts, never touches files it was not given."""

    async def init(self, folder: Path, *, own: bool = False, shared: bool = False) -> None:
        """Make the folder a repository, if it is in none. own: also if it is only inside another one.

        shared: the folder's group may commit there too.
        """
        if (own and not (folder / ".git").exists()) or not await self._is_repository(folder):
            extra = ["--shared=group"] if shared else []
            await self._run(folder, "init", "--quiet", "--initial-branch=main", *extra)

    async def shares(self, folder: Path) -> bool | None:
        """Return whether git makes its files for the folder's group too; None when it is in no repository."""
        if not await self._is_repository(folder):
            return None
        said = await self._run(folder, "config", "--default", "umask", "--get", "core.sharedRepository")
        return said.strip().lower() not in {"umask", "false", "no", "off", "0"}

    async def commit(self, folder: Path, files: Sequence[str], message: str, *, by_hand: bool = False) -> str | None:
        """Commit exactly these files; see console.drivers.base.Repository."""
        if not await self._is_repository(folder):
            return None
        # A file that came and went without git's knowledge is no pathspec that git would accept.
        known = set((await self._run(folder, "ls-files", "-z", "--", *files)).split("\0"))
        files = [name for name in files if name in known or os.path.lexists(folder / name)]  # noqa: ASYNC240 - local
        if not files:
            return None
        # Files git does not track yet must be added: flakes do not see untracked ones.
        await self._run(folder, "add", "--all", "--", *files)
        changed = await self._run(folder, "diff", "--cached", "--name-only", "--", *files)
        if not changed.strip():
            return None
        identity = await self._identity(folder)
        committing = (*identity, "commit", "--quiet", *_said(message, by_hand=by_hand), "--", *files)
        try:
            await self._run(folder, *committing)
        except FleetError as error:
            # The last message, which git writes over, is of another member with a strict umask. It is of no use.
            if "COMMIT_EDITMSG': Permission denied" not in error.detail:
                raise
            place = Path((await self._run(folder, "rev-parse", "--absolute-git-dir")).strip())
            (place / "COMMIT_EDITMSG").unlink()
            await self._run(folder, *committing)
        return (await self._run(folder, "rev-parse", "--short", "HEAD")).strip()

    async def standing(self, folder: Path) -> RepositoryState:
        """Return how the repository stands; see console.drivers.base.Repository."""
        if not await self._is_repository(folder):
            return RepositoryState(present=False)
        # The last line is empty at the repository's top.
        where = (await self._run(folder, "rev-parse", "--absolute-git-dir", "--show-prefix")).split("\n")
        place, prefix = Path(where[0]), where[1]
        said = await self._run(
            folder, "status", "--porcelain=v2", "--branch", "--untracked-files=all", "--no-renames", "-z", "--", "."
        )
        upstream, ahead, behind, changed = "", 0, 0, []
        for entry in said.split("\0"):
            kind, _, rest = entry.partition(" ")
            if entry.startswith("# branch.upstream "):
                upstream = entry.split(" ", 2)[2]
            elif entry.startswith("# branch.ab "):
                ahead, behind = (abs(int(number)) for number in entry.split()[2:4])
            elif kind in {"1", "u"}:
                changed.append(rest.split(" ", 7 if kind == "1" else 9)[-1])
            elif kind == "?":
                changed.append(rest)
        operation = next((word for name, word in OPERATIONS.items() if (place / name).exists()), "")
        names = tuple(name.removeprefix(prefix) for name in changed)
        return RepositoryState(
            operation=operation,
            upstream=upstream,
            ahead=ahead,
            behind=behind,
            uncommitted=tuple(name for name in names if not is_aside(name.rpartition("/")[2])),
            locks=await _lasting_locks(place),
        )

    async def log(self, folder: Path, limit: int) -> tuple[Commit, ...]:
        """Return the newest commits of the folder; see console.drivers.base.Repository."""
        if not await self._is_repository(folder) or not await self._has_commits(folder):
            return ()
        trailer = f"%(trailers:key={MADE_BY},valueonly,separator=%x20)"
        form = "%x1f".join(("%H", "%h", "%at", trailer, "%an", "%s"))
        said = await self._run(
            folder, "log", "-z", "--no-show-signature", f"--max-count={limit}", f"--format={form}", "--", "."
        )
        found = []
        for entry in said.split("\0"):
            if entry.strip():
                id, short, at, made_by, who, subject = entry.strip("\n").split("\x1f", 5)
                time = datetime.fromtimestamp(int(at), UTC)
                found.append(Commit(id=id, short=short, at=time, who=who, subject=subject, ours=bool(made_by.strip())))
        return tuple(found)

    async def commit_named(self, folder: Path, name: str) -> str | None:
        """Return the full name of a commit; see console.drivers.base.Repository."""
        try:
            said = await self._run(folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
        except FleetError:
            return None
        return said.strip()

    async def diff(self, folder: Path, commit: str) -> str:
        """Return what a commit changed; see console.drivers.base.Repository."""
        said = await self._run(
            folder,
            "show",
            *("--format=", "--no-color", "--no-ext-diff", "--no-textconv", "--no-renames", "--relative"),
            *("-m", "--first-parent", await self._known(folder, commit), "--", "."),
        )
        # What people write first; what is made from it is long, and follows.
        files = re.split(r"^(?=diff --git )", said, flags=re.MULTILINE)
        return "".join(sorted(files, key=lambda text: text.startswith(GENERATED)))

    async def texts(self, folder: Path, commit: str) -> Mapping[str, str]:
        """Return the inventory's files at a commit; see console.drivers.base.Repository."""
        tree = await self._run(
            folder, "ls-tree", "-r", "-z", await self._known(folder, commit), "--", "fleet.toml", "hosts/"
        )
        names: dict[str, str] = {}
        for entry in tree.split("\0"):
            head, tab, name = entry.partition("\t")
            if tab and name.endswith(".toml") and not name.rpartition("/")[2].startswith("."):
                names[name] = head.split()[2]
        asked = "".join(f"{blob}\n" for blob in names.values()).encode()
        answer = await self._output(folder, ("cat-file", "--batch"), asked)
        texts = {}
        for name in names:
            head_line, _, answer = answer.partition(b"\n")
            size = int(head_line.split()[2])
            texts[name], answer = answer[:size].decode(errors="replace"), answer[size + 1 :]
        return texts

    async def identity(self, folder: Path) -> str:
        """Return whom commits name ("Ada <ada@example.org>"), "" when git was not told and we name the login."""
        if await self._identity(folder):
            return ""
        return (await self._run(folder, "var", "GIT_AUTHOR_IDENT")).rpartition(" ")[0].rpartition(" ")[0]

    async def _known(self, folder: Path, name: str) -> str:
        commit = await self.commit_named(folder, name)
        if commit is None:
            raise FleetError(f"There is no commit {shown(name)}.", "", "See: qd history")
        return commit

    async def _has_commits(self, folder: Path) -> bool:
        return await self.commit_named(folder, "HEAD") is not None

    async def _is_repository(self, folder: Path) -> bool:
        try:
            answer = await self._run(folder, "rev-parse", "--is-inside-work-tree")
        except FleetError as error:
            # Git says the same of a repository that is broken: that must not pass for "no history wanted".
            if "not a git repository" in error.detail and not any(
                (place / ".git").exists() for place in (folder, *folder.parents)
            ):
                return False
            raise
        return answer.strip() == "true"

    async def _identity(self, folder: Path) -> list[str]:
        """Name the operator where git has not been told."""
        try:
            for role in ("AUTHOR", "COMMITTER"):
                await self._run(folder, "var", f"GIT_{role}_IDENT")
            return []
        except FleetError:
            user = _me()
            return ["-c", f"user.name={user}", "-c", f"user.email={user}@{socket.gethostname()}"]

    async def _run(self, folder: Path, *arguments: str) -> str:
        return (await self._output(folder, arguments)).decode(errors="replace")

    async def _output(self, folder: Path, arguments: Sequence[str], given: bytes | None = None) -> bytes:
        # Started from a git hook, we would be told of that hook's repository.
        ours = {key: value for key, value in os.environ.items() if key not in OF_ANOTHER}
        environment = {**ours, "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
        try:
            process = await asyncio.create_subprocess_exec(
                "git",
                *arguments,
                cwd=folder,
                env=environment,
                # Nothing may ask over the screens, and Ctrl-C there is not meant for a commit at work.
                start_new_session=True,
                umask=umask_in(folder),
                stdin=asyncio.subprocess.DEVNULL if given is None else asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
        except FileNotFoundError:
            raise FleetError("git is not installed.", "The inventory's history needs it.", "Install git.") from None
        try:
            async with asyncio.timeout(TIMEOUT_S):
                output, errors = await process.communicate(given)
        except (TimeoutError, asyncio.CancelledError) as error:
            await _ended(process)
            if isinstance(error, asyncio.CancelledError):
                raise
            raise FleetError(f"git {arguments[0]} did not end within {TIMEOUT_S:.0f} s.", str(folder)) from None
        if process.returncode != 0:
            why = errors.decode(errors="replace").strip() or output.decode(errors="replace").strip()
            verb = next((a for a in arguments if not a.startswith("-") and "=" not in a), "")
            raise _refusal(verb, folder, "".join(c if c.isprintable() or c == "\n" else "?" for c in why)[:2000])
        return output


def _refusal(verb: str, folder: Path, why: str) -> FleetError:
    """Return what git said; in our words what stands in the way of operators who share, or after a crash."""
    if found := re.search(r"dubious ownership in repository at '(.+)'", why):
        owner = _owner(Path(found[1]))
        return FleetError(
            f"git does not trust the repository {found[1]}.",
            f"It belongs to {owner}, and you are {_me()}: what git runs there (hooks) would be {owner}'s.",
            f"If you trust {owner}: git config --global --add safe.directory {shlex.quote(found[1])}",
        )
    if found := re.search(r"Unable to create '(.+\.lock)': File exists", why):
        return FleetError(
            f"The repository {folder} is locked.",
            f"A git command is at work there, or was killed: {found[1]} exists.",
            f"If no git runs there any more: {remove_locks([found[1]])}",
        )
    if re.search(r"insufficient permission|Permission denied", why):
        way_out = "qd doctor says what is not shared with you, and how to mend it."
        return FleetError(f"You may not write to the repository of {folder}.", why, way_out)
    return FleetError(f"git {verb} failed in {folder}.", why, "Mend the repository; the files themselves are written.")


def _me() -> str:
    try:
        return getpass.getuser()
    except KeyError:
        return f"user-{os.getuid()}"


def _owner(path: Path) -> str:
    try:
        return path.owner()
    except (KeyError, OSError):
        return "somebody else"


async def _lasting_locks(place: Path) -> tuple[str, ...]:
    """Return the locks of git commands that are there all the time."""
    deadline = asyncio.get_running_loop().time() + LOCK_S
    while (found := _locks(place)) and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110 - a file
        await asyncio.sleep(0.05)
    return found


def _locks(place: Path) -> tuple[str, ...]:
    files = [*place.glob("*.lock"), *(place / "refs/heads").glob("**/*.lock")]
    # One that git makes under another name for a single commit (next-index-PID.lock) keeps nobody out.
    return tuple(sorted(str(path) for path in files if not path.name.startswith("next-index-")))


async def _ended(process: asyncio.subprocess.Process) -> None:
    """End a git and what it runs: asked first, so that it removes its locks."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        try:
            async with asyncio.timeout(END_S):
                await process.wait()
        except TimeoutError:
            continue
        return


def _said(message: str, *, by_hand: bool) -> list[str]:
    return [f"--message={message}", *([] if by_hand else [f"--message={MADE_BY}: Quarterdeck"])]
