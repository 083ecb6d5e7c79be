"""A download bar on a terminal: bytes, speed, time left. Elsewhere a quiet line now and then."""

import shutil
import time
from collections import deque
from collections.abc import Callable
from typing import Self, TextIO

from codex_lsp.models.download import megabytes

WIDTH = 20
REDRAW_S = 0.1
# The speed is that of the last seconds: over a whole download it would hide that the line went slow.
WINDOW_S = 8.0
QUIET_STEP = 0.1


class ProgressBar:
    """Shows the progress of one pull on `stream`; as a context manager it ends on a fresh line."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._samples: deque[tuple[float, int]] = deque()
        self._drawn_at = float("-inf")
        self._told = 0.0
        self._width = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._width:
            self._stream.write("\n")
            self._stream.flush()

    def __call__(self, have: int, size: int | None) -> None:
        """Note that `have` bytes of `size` are here."""
        now = self._clock()
        if self._samples and have < self._samples[-1][1]:
            self._samples.clear()
        self._samples.append((now, have))
        while now - self._samples[0][0] > WINDOW_S and len(self._samples) > 2:
            self._samples.popleft()
        if self._stream.isatty():
            self._draw(now, have, size)
        else:
            self._tell(have, size)

    def say(self, sentence: str) -> None:
        """Print a sentence on a line of its own, above the bar."""
        self._stream.write(("\r" + " " * self._width + "\r" if self._width else "") + sentence + "\n")
        self._stream.flush()
        self._width = 0

    def _draw(self, now: float, have: int, size: int | None) -> None:
        if now - self._drawn_at < REDRAW_S and have != size:
            return
        self._drawn_at = now
        line = self._line(have, size)[: shutil.get_terminal_size().columns - 1]
        self._stream.write("\r" + line.ljust(self._width))
        self._stream.flush()
        self._width = len(line)

    def _tell(self, have: int, size: int | None) -> None:
        share = have / size if size else 0.0
        if share >= self._told + QUIET_STEP or (share == 1.0 and self._told < 1.0):
            self._told = share
            self._stream.write(self._line(have, size) + "\n")
            self._stream.flush()

    def _line(self, have: int, size: int | None) -> str:
        speed = self._speed()
        rate = f"{megabytes(int(speed))}/s" if speed else "--"
        if not size:
            return f"{megabytes(have)}  {rate}"
        done = min(have / size, 1.0)
        bar = ("█" * int(done * WIDTH)).ljust(WIDTH, "░")
        left = f"{_duration((size - have) / speed)} left" if speed and have < size else ""
        return f"{bar} {done:4.0%}  {megabytes(have)} of {megabytes(size)}  {rate}  {left}".rstrip()

    def _speed(self) -> float:
        """Bytes a second over the last seconds; 0 while that cannot be told."""
        (start, first), (end, last) = self._samples[0], self._samples[-1]
        return (last - first) / (end - start) if end > start else 0.0


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes}:{rest:02}"
