import io

import pytest

from codex_lsp.models.progress import ProgressBar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True

    def lines(self) -> list[str]:
        return [line.rstrip() for line in self.getvalue().replace("\n", "\r").split("\r") if line.strip()]


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")


def feed(bar: ProgressBar, clock: Clock, size: int | None, *haves: int) -> None:
    for have in haves:
        bar(have, size)
        clock.now += 1.0


def test_a_terminal_shows_bytes_speed_and_time_left() -> None:
    terminal, clock = Terminal(), Clock()
    with ProgressBar(terminal, clock) as bar:
        feed(bar, clock, 500_000_000, 0, 50_000_000, 100_000_000)

    assert terminal.lines()[-1] == "████░░░░░░░░░░░░░░░░  20%  100.0 MB of 500.0 MB  50.0 MB/s  0:08 left"
    assert terminal.getvalue().endswith("\n")


def test_the_speed_is_that_of_the_last_seconds() -> None:
    terminal, clock = Terminal(), Clock()
    with ProgressBar(terminal, clock) as bar:
        feed(bar, clock, 10**9, 0, 900_000_000, *(900_000_000 + 1_000_000 * step for step in range(1, 12)))

    assert "1.0 MB/s  1:29 left" in terminal.lines()[-1]


def test_a_resumed_download_does_not_count_old_bytes_as_speed() -> None:
    terminal, clock = Terminal(), Clock()
    with ProgressBar(terminal, clock) as bar:
        feed(bar, clock, 10**9, 800_000_000, 801_000_000)

    assert "1.0 MB/s" in terminal.lines()[-1]


def test_an_unknown_size_shows_what_is_known() -> None:
    terminal, clock = Terminal(), Clock()
    with ProgressBar(terminal, clock) as bar:
        feed(bar, clock, None, 0, 3_000_000)

    assert terminal.lines()[-1] == "3.0 MB  3.0 MB/s"


def test_the_last_byte_is_always_drawn() -> None:
    terminal, clock = Terminal(), Clock()
    with ProgressBar(terminal, clock) as bar:
        bar(0, 1000)
        bar(1000, 1000)

    assert "100%" in terminal.lines()[-1]


def test_a_narrow_terminal_is_never_wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    terminal, clock = Terminal(), Clock()
    with ProgressBar(terminal, clock) as bar:
        feed(bar, clock, 10**9, 0, 500_000_000)

    assert max(map(len, terminal.lines())) < 40


def test_a_log_gets_a_line_each_tenth_and_no_carriage_returns() -> None:
    log, clock = io.StringIO(), Clock()
    with ProgressBar(log, clock) as bar:
        feed(bar, clock, 1000, *range(0, 1001, 10))

    lines = log.getvalue().splitlines()
    assert len(lines) == 10
    assert "100%" in lines[-1]
    assert "\r" not in log.getvalue()


def test_a_sentence_stands_on_a_line_of_its_own() -> None:
    terminal, clock = Terminal(), Clock()
    with ProgressBar(terminal, clock) as bar:
        feed(bar, clock, 1000, 0)
        bar.say("The Hub cannot be reached.")
        feed(bar, clock, 1000, 500)

    assert "The Hub cannot be reached." in terminal.lines()


def test_hours_are_told_as_hours() -> None:
    terminal, clock = Terminal(), Clock()
    with ProgressBar(terminal, clock) as bar:
        feed(bar, clock, 18_001_000_000, 0, 1_000_000)

    assert terminal.lines()[-1].endswith("5 h 00 min left")
