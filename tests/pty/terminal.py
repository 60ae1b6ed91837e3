"""A program in a pty of its own: keys go in, what comes out makes a screen, and waiting is always for something."""

from __future__ import annotations

import re
import signal
import termios
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import pexpect
import pyte

ROOT = Path(__file__).parents[2]

KEYS = {
    "enter": "\r",
    "tab": "\t",
    "shift+tab": "\x1b[Z",
    # As terminals with the kitty keyboard protocol send it. The bare byte and a key that follows at once are alt+key.
    "escape": "\x1b[27u",
    "space": " ",
    "backspace": "\x7f",
    "up": "\x1b[A",
    "down": "\x1b[B",
    "right": "\x1b[C",
    "left": "\x1b[D",
    "home": "\x1b[H",
    "end": "\x1b[F",
    "pageup": "\x1b[5~",
    "pagedown": "\x1b[6~",
    "ctrl+c": "\x03",
    "ctrl+q": "\x11",
    "ctrl+s": "\x13",
    "ctrl+u": "\x15",
}

MODE = re.compile(rb"\x1b\[\?([\d;]+)([hl])")
ON_AT_FIRST = {7, 25}
"""Line wrap and the cursor: on in every terminal, all other private modes are off."""
LOOK_S = 0.25

KEYBOARD = re.compile(rb"\x1b\[[<>=][\d;]*u")
"""Asks for a keyboard protocol that pyte does not know: it would print the last letter."""


class Terminal:
    """A program that runs in a terminal of 80 by 24, and what its screen shows.

    Every wait ends with the condition, or fails at its deadline with the screen as it stood.
    """

    def __init__(
        self, arguments: Iterable[str], environment: Mapping[str, str], columns: int = 80, lines: int = 24
    ) -> None:
        self.arguments = [str(word) for word in arguments]
        self.raw = b""
        self._screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self._screen)
        self._ended = False
        self._child = pexpect.spawn(
            self.arguments[0],
            self.arguments[1:],
            env=dict(environment),
            dimensions=(lines, columns),
            cwd=str(ROOT),
        )
        # pexpect pauses before each send and each end, for programs other than ours.
        self._child.delaybeforesend = None
        self._child.delayafterclose = self._child.delayafterterminate = 0

    @property
    def text(self) -> str:
        """The screen, line by line, without the blanks at the right."""
        return "\n".join(line.rstrip() for line in self._screen.display)

    def line(self, words: str) -> str:
        """The first line of the screen with these words in it, empty for none."""
        return next((line for line in self.text.splitlines() if words in line), "")

    @property
    def cursor_shown(self) -> bool:
        """Whether the terminal shows its cursor now."""
        return not self._screen.cursor.hidden

    def modes_left(self) -> set[int]:
        """The private modes that the program changed and did not put back (mouse, paste, the alternate screen)."""
        last: dict[int, bool] = {}
        for numbers, what in MODE.findall(self.raw):
            last |= {int(number): what == b"h" for number in numbers.split(b";")}
        return {number for number, on in last.items() if on is not (number in ON_AT_FIRST)}

    def is_cooked(self) -> bool:
        """Whether the line is as a shell leaves it: what is typed is echoed, and enter ends it."""
        flags = termios.tcgetattr(self._child.fileno())[3]
        return bool(flags & termios.ECHO and flags & termios.ICANON)

    # What the operator does.

    def press(self, *keys: str) -> None:
        """Press keys by name; a key without a name is itself."""
        self._child.send("".join(KEYS.get(key, key) for key in keys))

    def type(self, text: str) -> None:
        """Type a text, as fast as a paste."""
        self._child.send(text)

    def resize(self, columns: int, lines: int) -> None:
        """Make the terminal larger or smaller; the program is told by the kernel."""
        self._screen.resize(lines, columns)
        self._child.setwinsize(lines, columns)

    def wipe(self) -> None:
        """Have somebody else clear the terminal: the program is not told."""
        self._screen.erase_in_display(2)

    def tell_size(self) -> None:
        """Tell the program of the size that it knows already, as a terminal multiplexer does when it is attached."""
        self._child.kill(signal.SIGWINCH)

    # What the operator waits for.

    def wait(self, *words: str, seconds: float = 15.0) -> str:
        """Return the screen once all the words stand on it."""
        return self.until(lambda text: all(word in text for word in words), f"{words} on the screen", seconds)

    def wait_gone(self, *words: str, seconds: float = 15.0) -> str:
        """Return the screen once none of the words stands on it."""
        return self.until(lambda text: not any(word in text for word in words), f"{words} gone", seconds)

    def wait_line(self, *words: str, seconds: float = 15.0) -> str:
        """Return the first line that has all the words, once there is one."""

        def found(text: str) -> list[str]:
            return [line for line in text.splitlines() if all(word in line for word in words)]

        return found(self.until(lambda text: bool(found(text)), f"{words} in one line", seconds))[0]

    def until(self, shown: Callable[[str], bool], what: str, seconds: float = 15.0) -> str:
        """Return the screen once it is as asked for."""
        deadline = time.monotonic() + seconds
        while not shown(self.text):
            if self._ended:
                raise AssertionError(f"{what}: the program ended before.\n{self.framed()}")
            if time.monotonic() >= deadline:
                raise AssertionError(f"{what}: not within {seconds:.0f} s.\n{self.framed()}")
            self._read(deadline - time.monotonic())
        return self.text

    def watch(self, seconds: float) -> Iterator[tuple[float, str]]:
        """Yield (seconds since now, the screen) at each change of the screen, until the time is over."""
        begun = time.monotonic()
        while not self._ended and (past := time.monotonic() - begun) < seconds:
            self._read(seconds - past)
            yield time.monotonic() - begun, self.text

    def ended(self, seconds: float = 15.0) -> int:
        """Return the exit status once the program has ended; minus the signal that ended it."""
        deadline = time.monotonic() + seconds
        while not self._ended:
            if time.monotonic() >= deadline:
                raise AssertionError(f"{self.arguments}: still there after {seconds:.0f} s.\n{self.framed()}")
            self._read(deadline - time.monotonic())
        self._child.wait()
        return self._child.exitstatus if self._child.exitstatus is not None else -self._child.signalstatus

    def framed(self) -> str:
        """The screen in a frame, for messages."""
        rule = "─" * self._screen.columns
        return "\n".join(["┌" + rule + "┐", *(f"│{line}│" for line in self._screen.display), "└" + rule + "┘"])

    def close(self) -> None:
        """End the program, whatever it does."""
        if not self._ended and self._child.isalive():
            self._child.kill(signal.SIGKILL)
        self._child.close(force=True)

    def _read(self, seconds: float) -> None:
        """Feed what comes next to the screen, within the time."""
        try:
            # No longer than LOOK_S: what is waited for may be something else than output.
            data = self._child.read_nonblocking(65536, timeout=max(0.0, min(seconds, LOOK_S)))
        except pexpect.TIMEOUT:
            return
        except pexpect.EOF:
            self._ended = True
            return
        self.raw += data
        self._stream.feed(KEYBOARD.sub(b"", data))
