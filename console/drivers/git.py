"""The inventory's git repository, by the git command."""

from __future__ import annotations

import asyncio
import getpass
import os
import socket
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from console.domain.errors import FleetError
from console.domain.record import Commit, RepositoryState
from console.domain.values import shown

TIMEOUT_S = 20.0

OF_ANOTHER = frozenset({"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR"})
"""What git sets for its hooks, and what would lead us to another repository than the inventory's."""

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

    async def init(self, folder: Path, *, own: bool = False) -> None:
        """Make the folder a repository, if it is in none. own: also if it is only inside another one."""
        if (own and not (folder / ".git").exists()) or not await self._is_repository(folder):
            await self._run(folder, "init", "--quiet", "--initial-branch=main")

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
        await self._run(folder, *identity, "commit", "--quiet", *_said(message, by_hand=by_hand), "--", *files)
        return (await self._run(folder, "rev-parse", "--short", "HEAD")).strip()

    async def standing(self, folder: Path) -> RepositoryState:
        """Return how the repository stands; see console.drivers.base.Repository."""
        if not await self._is_repository(folder):
            return RepositoryState(present=False)
        place = Path((await self._run(folder, "rev-parse", "--absolute-git-dir")).strip())
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
        return RepositoryState(
            operation=operation, upstream=upstream, ahead=ahead, behind=behind, uncommitted=tuple(changed)
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
        return await self._run(
            folder,
            "show",
            *("--format=", "--no-color", "--no-ext-diff", "--no-textconv", "--no-renames", "--relative"),
            *("-m", "--first-parent", await self._known(folder, commit), "--", "."),
        )

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
            user = getpass.getuser()
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
            process.kill()
            await process.wait()
            if isinstance(error, asyncio.CancelledError):
                raise
            raise FleetError(f"git {arguments[0]} did not end within {TIMEOUT_S:.0f} s.", str(folder)) from None
        if process.returncode != 0:
            why = errors.decode(errors="replace").strip() or output.decode(errors="replace").strip()
            raise FleetError(
                f"git {next((a for a in arguments if not a.startswith('-') and '=' not in a), '')} failed in {folder}.",
                "".join(c if c.isprintable() or c == "\n" else "?" for c in why)[:2000],
                "Mend the repository; the files themselves are written.",
            )
        return output


def _said(message: str, *, by_hand: bool) -> list[str]:
    return [f"--message={message}", *([] if by_hand else [f"--message={MADE_BY}: Quarterdeck"])]
