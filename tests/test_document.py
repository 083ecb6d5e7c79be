"""The document against a model that keeps one string and counts characters one by one."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codex_lsp.document import Change, Document, Position, PositionEncoding, split_lines

ENCODINGS: tuple[PositionEncoding, ...] = ("utf-8", "utf-16", "utf-32")

# Few different characters, so that "\r" and "\n" meet often: ends, what only looks like an end to Python,
# two- to four-byte characters, a combining accent, a joiner, and both halves of a surrogate pair alone.
characters = st.sampled_from("a\n\rb\t\x0c\x1c\x85\u2028éß漢\u0301\u200d😀🧑\ud83d\ude00")
texts = st.text(characters, max_size=40)
positions = st.builds(Position, st.integers(0, 12), st.integers(0, 20))
edits = st.builds(Change, st.text(characters, max_size=6), positions, positions)
changes = st.lists(st.one_of(edits, edits, edits, st.builds(Change, texts)), max_size=12)
encodings = st.sampled_from(ENCODINGS)


def reference_lines(text: str) -> list[str]:
    parts = re.split(r"(\r\n|\r|\n)", text)
    return [content + end for content, end in zip(parts[::2], [*parts[1::2], ""], strict=True)]


def width(character: str, encoding: PositionEncoding) -> int:
    if encoding == "utf-32":
        return 1
    if encoding == "utf-16":
        return 2 if ord(character) > 0xFFFF else 1
    return len(character.encode("utf-8", "surrogatepass"))


def reference_column(text: str, position: Position, encoding: PositionEncoding) -> tuple[int, int]:
    lines = reference_lines(text)
    if position.line >= len(lines):
        return len(lines) - 1, len(lines[-1])
    left = position.character
    index = 0
    for character in lines[position.line]:
        left -= width(character, encoding)
        if left < 0 or character in "\r\n":
            break
        index += 1
    return position.line, index


def reference_edit(text: str, change: Change, encoding: PositionEncoding) -> str:
    if change.start is None or change.end is None:
        return change.text
    lines = reference_lines(text)
    offsets = []
    for position in (change.start, change.end):
        line, index = reference_column(text, position, encoding)
        offsets.append(len("".join(lines[:line])) + index)
    return text[: min(offsets)] + change.text + text[max(offsets) :]


def document(text: str, language_id: str = "python") -> Document:
    return Document("file:///m.py", language_id, 1, text)


def lines_of(doc: Document) -> list[int]:
    return [doc.line_length(line) for line in range(doc.line_count)]


@given(texts, changes, encodings)
def test_any_edits_leave_what_editing_one_string_leaves(
    text: str, edits: list[Change], encoding: PositionEncoding
) -> None:
    doc = document(text)
    for version, change in enumerate(edits, start=2):
        text = reference_edit(text, change, encoding)
        doc.apply([change], version, encoding)
        assert doc.text == text
        assert lines_of(doc) == [len(line) for line in reference_lines(text)]
        assert doc.eol == document(text).eol
        assert doc.version == version


@given(texts, changes, encodings)
def test_changes_of_one_notification_build_on_each_other(
    text: str, edits: list[Change], encoding: PositionEncoding
) -> None:
    at_once, one_by_one = document(text), document(text)
    at_once.apply(edits, 2, encoding)
    for change in edits:
        one_by_one.apply([change], 2, encoding)
    assert at_once.text == one_by_one.text


@given(texts)
def test_lines_end_only_where_the_protocol_says(text: str) -> None:
    assert split_lines(text) == reference_lines(text)


@given(texts, positions, encodings)
def test_a_position_is_clamped_and_rounded_down(text: str, position: Position, encoding: PositionEncoding) -> None:
    assert document(text).column(position, encoding) == reference_column(text, position, encoding)


@given(texts, positions, encodings)
def test_a_position_survives_the_way_there_and_back(text: str, position: Position, encoding: PositionEncoding) -> None:
    doc = document(text)
    line, index = doc.column(position, encoding)
    assert doc.column(doc.position(line, index, encoding), encoding) == (line, index)


@given(texts, positions, encodings, st.integers(-2, 12), st.integers(-2, 12))
def test_a_snapshot_holds_the_asked_lines_and_the_cursors(
    text: str, position: Position, encoding: PositionEncoding, first: int, last: int
) -> None:
    snapshot = document(text).snapshot(position, encoding, first, last)
    line, index = reference_column(text, position, encoding)
    lines = reference_lines(text)
    window = "".join(lines[max(0, min(first, line)) : max(last, line) + 1])
    assert snapshot.prefix + snapshot.suffix == window.replace("\r\n", "\n").replace("\r", "\n")
    assert (snapshot.line, snapshot.column) == (line, index)
    assert snapshot.prefix.count("\n") == line - snapshot.prefix_start_line
    assert snapshot.prefix.endswith(snapshot.line_prefix)
    assert snapshot.suffix.startswith(snapshot.line_suffix)
    assert snapshot.line_prefix + snapshot.line_suffix == lines[line].rstrip("\r\n")


@pytest.mark.parametrize(
    ("encoding", "character"), [("utf-8", 5), ("utf-16", 3), ("utf-32", 2)], ids=["utf-8", "utf-16", "utf-32"]
)
def test_the_same_place_has_another_number_in_each_encoding(encoding: PositionEncoding, character: int) -> None:
    doc = document("x\na😀b")
    assert doc.column(Position(1, character), encoding) == (1, 2)
    assert doc.position(1, 2, encoding) == Position(1, character)
    doc.apply([Change("!", Position(1, character), Position(1, character))], 2, encoding)
    assert doc.text == "x\na😀!b"


def test_the_middle_of_a_surrogate_pair_is_its_start() -> None:
    assert document("a😀b").column(Position(0, 2), "utf-16") == (0, 1)


def test_a_form_feed_does_not_move_the_lines_below() -> None:
    doc = document("a\x0cb\nc\n")
    doc.apply([Change("X", Position(1, 0), Position(1, 0))], 2, "utf-16")
    assert doc.text == "a\x0cb\nXc\n"


def test_a_line_feed_typed_after_a_lone_carriage_return_joins_it() -> None:
    doc = document("a\rb")
    doc.apply([Change("\n", Position(1, 0), Position(1, 0))], 2, "utf-16")
    assert lines_of(doc) == [3, 1]
    assert doc.text == "a\r\nb"


def test_an_edit_past_the_end_lands_at_the_end() -> None:
    doc = document("a\nb")
    doc.apply([Change("!", Position(9, 9), Position(9, 9))], 2, "utf-16")
    doc.apply([Change("?", Position(0, 99), Position(0, 99))], 3, "utf-16")
    assert doc.text == "a?\nb!"


def test_a_range_given_backwards_is_the_same_range() -> None:
    doc = document("abcd")
    doc.apply([Change("-", Position(0, 3), Position(0, 1))], 2, "utf-16")
    assert doc.text == "a-d"


def test_a_snapshot_has_plain_newlines_and_names_the_documents_own() -> None:
    doc = document("zero\rone\r\ntwo\r\nthree\r\nfour")
    snapshot = doc.snapshot(Position(2, 1), "utf-16", 0, 3)
    assert snapshot.prefix == "zero\none\nt"
    assert snapshot.suffix == "wo\nthree\n"
    assert (snapshot.line_prefix, snapshot.line_suffix) == ("t", "wo")
    assert snapshot.eol == "\r\n"


@pytest.mark.parametrize(
    ("text", "eol"),
    [("", "\n"), ("a", "\n"), ("a\r\nb", "\r\n"), ("a\r\nb\nc", "\n"), ("a\r\nb\r\nc\nd", "\r\n")],
)
def test_the_line_end_is_the_one_most_lines_have(text: str, eol: str) -> None:
    assert document(text).eol == eol


def test_a_snapshot_is_not_touched_by_later_edits() -> None:
    doc = document("ab")
    before = doc.snapshot(Position(0, 1), "utf-16", 0, 0)
    doc.apply([Change("X", Position(0, 0), Position(0, 0))], 2, "utf-16")
    assert (before.prefix, before.version) == ("a", 1)


def test_characters_between_lines_count_their_line_ends() -> None:
    doc = document("ab\r\nc\nd")
    assert [doc.chars_between(0, 0), doc.chars_between(0, 1), doc.chars_between(1, 2)] == [4, 6, 3]
