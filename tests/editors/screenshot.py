"""A real terminal without a window: runs a program in tmux, reads its screen, draws the screen as a PNG."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from rich.ansi import AnsiDecoder
from rich.cells import cell_len
from rich.color import Color
from rich.console import Console
from rich.style import Style

FONT_SIZE = 18
MARGIN = 12
FOREGROUND = (224, 226, 234)  # Neovim's own dark colours
BACKGROUND = (20, 22, 27)

# Without these two tmux rounds Neovim's colours to its palette, and grey text looks like any other.
TMUX_SETTINGS = 'set -g default-terminal tmux-256color\nset -ga terminal-features ",*:RGB"\nset -s escape-time 0\n'

Run = tuple[str, Style]
"""Text in one style."""


class Terminal:
    """A tmux server of its own, with one program in it."""

    def __init__(
        self,
        program: Sequence[str | Path],
        folder: Path,
        environment: Mapping[str, str],
        columns: int,
        rows: int,
    ) -> None:
        settings = folder / "tmux.conf"
        settings.write_text(TMUX_SETTINGS, encoding="utf-8")
        self._tmux = ["tmux", "-S", str(folder / "tmux.sock"), "-f", str(settings)]
        self._environment = {**environment, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
        self._do("new-session", "-d", "-x", str(columns), "-y", str(rows), "-c", str(folder), *map(str, program))

    def type(self, text: str) -> None:
        """Send `text` to the program as typed; a tab is the Tab key."""
        self._do("send-keys", "-l", text)

    def screen(self) -> list[list[Run]]:
        """What is on screen now: for each line the runs of text in one style."""
        console = Console()
        captured = self._do("capture-pane", "-e", "-p")
        return [
            [
                (segment.text, segment.style or Style.null())
                for segment in line.render(console)
                if segment.text.strip("\n")
            ]
            for line in AnsiDecoder().decode(captured)
        ]

    def close(self) -> None:
        """End the program and the tmux server."""
        self._do("kill-server")

    def _do(self, *command: str) -> str:
        done = subprocess.run(
            [*self._tmux, *command],
            env=self._environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=20,
        )
        return done.stdout


def draw(screen: list[list[Run]], file: Path) -> None:
    """Write `screen` as a PNG, each run of text in its own colours.

    Raises OSError when DejaVu Sans Mono is not installed.
    """
    fonts = {bold: ImageFont.truetype(f"DejaVuSansMono{'-Bold' * bold}.ttf", FONT_SIZE) for bold in (False, True)}
    width, height = round(fonts[False].getlength("M")), round(FONT_SIZE * 1.4)
    columns = max(sum(cell_len(text) for text, _ in line) for line in screen)
    image = Image.new("RGB", (columns * width + 2 * MARGIN, len(screen) * height + 2 * MARGIN), BACKGROUND)
    pen = ImageDraw.Draw(image)
    for row, line in enumerate(screen):
        x, y = MARGIN, MARGIN + row * height
        for text, style in line:
            ink, paper = _rgb(style.color, FOREGROUND), _rgb(style.bgcolor, BACKGROUND)
            if style.reverse:
                ink, paper = paper, ink
            right = x + cell_len(text) * width
            pen.rectangle((x, y, right - 1, y + height - 1), paper)
            for character in text:
                pen.text((x, y + height // 2), character, ink, fonts[bool(style.bold)], anchor="lm")
                x += cell_len(character) * width
    file.parent.mkdir(parents=True, exist_ok=True)
    image.save(file)


def _rgb(color: Color | None, default: tuple[int, int, int]) -> tuple[int, int, int]:
    return default if color is None or color.is_default else color.get_truecolor()
