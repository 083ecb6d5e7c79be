"""The window: it holds the cursor, keeps to its budget, and its start stays put while somebody types."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codex_lsp.context.window import (
    COLD_PREFILL_S,
    MAX_TOKENS,
    MIN_TOKENS,
    REFILL_SHARE,
    WHOLE_SHARE,
    Budget,
    Windows,
    affordable_tokens,
    lines_around,
)
from codex_lsp.document import Document

KEY = "file:///a.py"
LINE = "    total += price\n"  # 19 characters
BUDGET = Budget(prefix_chars=40 * len(LINE), suffix_chars=10 * len(LINE))


def document(n_lines: int, line: str = LINE) -> Document:
    return Document(KEY, "python", 1, line * n_lines)


def starts(windows: Windows, doc: Document, cursor_lines: range) -> list[int]:
    return [windows.lines(KEY, doc, line, BUDGET)[0] for line in cursor_lines]


def test_a_short_file_is_held_whole() -> None:
    assert Windows().lines(KEY, document(20), 15, BUDGET) == (0, 20)


def test_an_empty_file_has_its_one_line() -> None:
    assert Windows().lines(KEY, Document(KEY, "python", 1, ""), 0, BUDGET) == (0, 0)


def test_the_suffix_is_as_long_as_its_part() -> None:
    assert Windows().lines(KEY, document(500), 200, BUDGET)[1] == 210


def test_the_first_window_leaves_room_to_type() -> None:
    first, _ = Windows().lines(KEY, document(500), 200, BUDGET)
    assert first == 200 - int(40 * REFILL_SHARE)


def test_a_file_that_nearly_fills_the_window_is_taken_from_its_first_line() -> None:
    doc = document(500)
    fits = int(40 * WHOLE_SHARE)
    assert Windows().lines(KEY, doc, fits, BUDGET)[0] == 0
    assert Windows().lines(KEY, doc, fits + 1, BUDGET)[0] == fits + 1 - int(40 * REFILL_SHARE)


def test_typing_down_four_hundred_lines_moves_the_start_rarely_and_far() -> None:
    seen = starts(Windows(), document(500), range(400))
    moves = [new - old for old, new in pairwise(seen) if new != old]
    # Each move leaves 40 % of 40 lines to type on.
    assert 400 // 17 <= len(moves) <= 400 // 15
    assert min(moves) >= 15


def test_text_typed_on_one_line_does_not_move_the_start() -> None:
    windows, doc = Windows(), document(500)
    first, _ = windows.lines(KEY, doc, 200, BUDGET)
    doc = Document(KEY, "python", 2, LINE * 200 + "x" * 15 * len(LINE) + "\n" + LINE * 300)
    assert windows.lines(KEY, doc, 200, BUDGET)[0] == first


def test_lines_typed_below_the_cursor_do_not_move_the_start() -> None:
    windows = Windows()
    first, _ = windows.lines(KEY, document(500), 200, BUDGET)
    assert windows.lines(KEY, document(900), 200, BUDGET)[0] == first


@pytest.mark.parametrize("line", [0, 60, 185, 190, 202, 450, 500])
def test_a_jump_ends_in_a_window_that_is_worth_reading(line: int) -> None:
    windows, doc = Windows(), document(500)
    windows.lines(KEY, doc, 200, BUDGET)
    first, _ = windows.lines(KEY, doc, line, BUDGET)
    held = doc.chars_between(first, line)
    assert first <= line
    assert held <= BUDGET.prefix_chars
    assert first == 0 or held >= BUDGET.prefix_chars * REFILL_SHARE / 2


def test_a_step_up_and_back_does_not_move_the_start() -> None:
    assert len(set(starts(Windows(), document(500), range(200, 192, -1)))) == 1


def test_each_document_has_its_own_start() -> None:
    windows, doc = Windows(), document(500)
    first, _ = windows.lines("a", doc, 200, BUDGET)
    windows.lines("b", doc, 400, BUDGET)
    assert windows.lines("a", doc, 210, BUDGET)[0] == first


def test_a_smaller_budget_takes_effect_at_once() -> None:
    windows, doc = Windows(), document(500)
    windows.lines(KEY, doc, 200, BUDGET)
    small = Budget(prefix_chars=10 * len(LINE), suffix_chars=2 * len(LINE))
    assert windows.lines(KEY, doc, 200, small) == (194, 202)


def test_a_start_behind_the_end_of_a_file_that_shrank_is_forgotten() -> None:
    windows = Windows()
    windows.lines(KEY, document(500), 490, BUDGET)
    assert windows.lines(KEY, document(10), 5, BUDGET) == (0, 10)


def test_a_budget_is_split_between_both_sides() -> None:
    budget = Budget.of_tokens(1000)
    assert budget.prefix_chars > budget.suffix_chars > 0
    assert 3000 < budget.prefix_chars + budget.suffix_chars < 3600


def test_the_window_is_what_the_machine_can_read_in_time() -> None:
    assert affordable_tokens(0) == MIN_TOKENS
    assert affordable_tokens(200) == int(200 * COLD_PREFILL_S)
    assert affordable_tokens(1e6) == MAX_TOKENS


def test_lines_around_a_cursor_are_a_little_more_than_asked() -> None:
    doc = document(500)
    first, last = lines_around(doc, 200, 5 * len(LINE), 3 * len(LINE))
    assert (first, last) == (194, 204)
    assert lines_around(doc, 0, 100, 0)[0] == 0


line_lengths = st.lists(st.integers(0, 60), min_size=1, max_size=60)


@given(line_lengths, st.lists(st.integers(0, 200), min_size=1, max_size=12), st.integers(1, 300), st.integers(0, 100))
@settings(max_examples=100, deadline=None)
def test_any_walk_of_the_cursor_stays_within_the_window(
    lengths: list[int], cursor_lines: list[int], prefix_chars: int, suffix_chars: int
) -> None:
    doc = Document(KEY, "python", 1, "\n".join("x" * length for length in lengths))
    budget = Budget(prefix_chars, suffix_chars)
    windows = Windows()
    for cursor_line in cursor_lines:
        line = cursor_line % doc.line_count
        first, last = windows.lines(KEY, doc, line, budget)
        assert 0 <= first <= line <= last < doc.line_count
        # The cursor's own line is there whatever it costs.
        assert first == line or doc.chars_between(first, line - 1) <= prefix_chars
        assert last == line or doc.chars_between(line + 1, last) <= suffix_chars
        assert windows.lines(KEY, doc, line, budget) == (first, last), "asking twice moves nothing"
