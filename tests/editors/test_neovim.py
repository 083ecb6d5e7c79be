"""Neovim's built-in client with the documented settings, the real server and the real 0.5B model."""

import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest
from rich.style import Style

from tests.editors.conftest import ARTIFACTS, MINIMAL_LUA
from tests.editors.neovim import Ghost, Neovim, neovim_command, wait_for
from tests.editors.screenshot import Run, Terminal, draw

pytestmark = [pytest.mark.model, pytest.mark.timeout(600)]

TEMPERATURES = """\
def celsius(fahrenheit):
    return (fahrenheit - 32) * 5 / 9


def fahrenheit(celsius):
"""
IS_PRIME = """\
def is_prime(n):
    \"\"\"Whether n is a prime number.\"\"\"
"""
COMPL_HINT = "#4f5258"  # the grey of Neovim's own dark colours

StartNeovim = Callable[[], Neovim]


@pytest.fixture
def neovim(start_neovim: StartNeovim) -> Neovim:
    return start_neovim()


def open_temperatures(neovim: Neovim, folder: Path) -> None:
    """Open a file that ends in a function's head, and start its body in insert mode."""
    neovim.open(folder / "temperatures.py", TEMPERATURES)
    neovim.press("G", "o")
    neovim.type("return ")


def accept_exactly_what_is_shown(neovim: Neovim) -> Ghost:
    """Press Tab: the text before the cursor and the ghost text, and nothing else, are in the buffer."""
    ghost = neovim.settled_ghost()
    before = neovim.lines()
    assert (ghost.row, ghost.column) == neovim.cursor()
    neovim.press("<Tab>")
    wait_for("accepted text", lambda: neovim.lines() != before)
    assert "\n".join(neovim.lines()) == "\n".join(before) + ghost.text
    return ghost


def test_accepting_puts_exactly_the_ghost_text_in_the_buffer(neovim: Neovim, tmp_path: Path) -> None:
    open_temperatures(neovim, tmp_path)
    neovim.type("(celsius")
    accept_exactly_what_is_shown(neovim)


def test_accepting_several_lines_puts_all_of_them_in_the_buffer(neovim: Neovim, tmp_path: Path) -> None:
    neovim.open(tmp_path / "primes.py", IS_PRIME)
    neovim.press("G", "o")
    ghost = accept_exactly_what_is_shown(neovim)
    assert "\n" in ghost.text


def test_one_undo_takes_the_accepted_text_back(neovim: Neovim, tmp_path: Path) -> None:
    open_temperatures(neovim, tmp_path)
    neovim.press("<Esc>", "A")  # what is typed in one go is undone in one go
    neovim.settled_ghost()
    before = neovim.lines()
    neovim.press("<Tab>")
    wait_for("accepted text", lambda: neovim.lines() != before)

    neovim.press("<Esc>", "u")

    wait_for("undo", lambda: neovim.lines() == before, 20)


def test_text_beyond_ascii_before_the_cursor_stays_whole(neovim: Neovim, tmp_path: Path) -> None:
    open_temperatures(neovim, tmp_path)
    neovim.type('"🌡️ größer als 😀" if celsius > 100 else "')
    accept_exactly_what_is_shown(neovim)


def test_typing_something_else_leaves_no_stale_ghost(neovim: Neovim, tmp_path: Path) -> None:
    open_temperatures(neovim, tmp_path)
    neovim.settled_ghost()

    neovim.type('"""zzz')

    neovim.settle()
    ghost = neovim.ghost()
    before = neovim.lines()
    neovim.press("<Tab>")
    accepted = ghost.text if ghost else "\t"
    wait_for("text of the Tab key", lambda: neovim.lines() != before)
    assert "\n".join(neovim.lines()).expandtabs(4) == ("\n".join(before) + accepted).expandtabs(4)


def test_two_editors_share_one_model_and_one_may_leave(
    start_neovim: StartNeovim, environment: dict[str, str], tmp_path: Path
) -> None:
    first, second = start_neovim(), start_neovim()
    for neovim in (first, second):
        open_temperatures(neovim, tmp_path)
        neovim.settled_ghost()
    daemon = daemon_status(environment)
    assert daemon["connections"] == ["Neovim", "Neovim"]
    assert len(psutil.Process(daemon["pid"]).children()) == 1, "one engine process, so one model in memory"

    first.quit()

    wait_for("one editor less", lambda: daemon_status(environment)["connections"] == ["Neovim"], 20)
    second.type("(celsius")
    assert second.settled_ghost().text
    assert daemon_status(environment)["pid"] == daemon["pid"]


def daemon_status(environment: dict[str, str]) -> dict[str, Any]:
    command = [sys.executable, "-m", "codex_lsp", "daemon", "status", "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, check=True, timeout=30)
    status: dict[str, Any] = json.loads(done.stdout)
    return status


def test_the_terminal_shows_the_ghost_in_grey_and_the_accepted_text_in_colour(
    neovim_program: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    address = tmp_path / "nvim.sock"
    program = neovim_command(neovim_program, MINIMAL_LUA, address)
    with (
        closing(Terminal(program, tmp_path, environment, columns=80, rows=16)) as terminal,
        closing(Neovim(address)) as neovim,
    ):
        neovim.open(tmp_path / "temperatures.py", TEMPERATURES)
        terminal.type("Goreturn ")
        ghost = neovim.settled_ghost().text.splitlines()[0]
        wait_for("ghost text in grey", lambda: grey_after_return(terminal.screen()) == ghost, 20)
        draw(terminal.screen(), ARTIFACTS / "neovim-ghost.png")

        terminal.type("\t")

        wait_for("grey text gone", lambda: not grey_after_return(terminal.screen()), 20)
        assert f"return {ghost}" in plain(terminal.screen())
        draw(terminal.screen(), ARTIFACTS / "neovim-accepted.png")


def plain(screen: list[list[Run]]) -> str:
    return "\n".join("".join(text for text, _ in line).rstrip() for line in screen)


def grey_after_return(screen: list[list[Run]]) -> str:
    """The text in the ghost's grey on the line where the test types."""
    typed = [line for line in screen if "".join(text for text, _ in line).startswith("    return ")]
    return "".join(text for text, style in typed[-1] if in_grey(style)).strip() if typed else ""


def in_grey(style: Style) -> bool:
    return style.color is not None and style.color.get_truecolor().hex == COMPL_HINT
