"""Which places may have a suggestion, and of what shape."""

import pytest

from codex_lsp.document import Document, Position, Snapshot
from codex_lsp.policy import Refusal, Shape, judge
from codex_lsp.settings import DEFAULTS, Settings

ONE_LINE = Shape(single_line=True, base_indent=None)


def at_cursor(marked: str, language: str = "python") -> Snapshot:
    before, _, after = marked.partition("█")
    document = Document("file:///a.py", language, 1, before + after)
    position = Position(before.count("\n"), len(before) - before.rfind("\n") - 1)
    return document.snapshot(position, "utf-32", 0, document.line_count)


def block(indent: int) -> Shape:
    return Shape(single_line=False, base_indent=indent)


@pytest.mark.parametrize(
    ("settings", "path", "refusal"),
    [
        (Settings(enabled=False), "a.py", Refusal.DISABLED),
        (Settings(languages={"python": False}), "a.py", Refusal.LANGUAGE),
        (Settings(languages={"*": False}), "a.py", Refusal.LANGUAGE),
        (Settings(exclude=("drafts/",)), "drafts/a.py", Refusal.EXCLUDED),
        (DEFAULTS, "deploy/.env", Refusal.EXCLUDED),
    ],
)
@pytest.mark.parametrize("invoked", [False, True])
def test_what_the_settings_refuse_is_refused_by_name(
    settings: Settings, path: str, refusal: Refusal, invoked: bool
) -> None:
    assert judge(at_cursor("x = █"), path, settings, invoked=invoked) is refusal


def test_text_that_is_in_no_file_cannot_be_excluded() -> None:
    assert judge(at_cursor("x = █"), None, DEFAULTS, invoked=False) == ONE_LINE


@pytest.mark.parametrize("marked", ["█", "\n\n  █\nx = 1\n", "i█"])
def test_too_little_text_before_the_cursor(marked: str) -> None:
    assert judge(at_cursor(marked), "a.py", DEFAULTS, invoked=True) is Refusal.EMPTY


@pytest.mark.parametrize("marked", ["x = val█ue", "x = val█_1", "x = naï█ve"])
def test_inside_a_word_only_when_asked_for(marked: str) -> None:
    assert judge(at_cursor(marked), "a.py", DEFAULTS, invoked=False) is Refusal.MID_WORD
    assert judge(at_cursor(marked), "a.py", DEFAULTS, invoked=True) == ONE_LINE


@pytest.mark.parametrize("marked", ["x = █value", "x = value█)", "x = value█ + 1", "x.█y"])
def test_next_to_a_word_is_not_inside(marked: str) -> None:
    assert judge(at_cursor(marked), "a.py", DEFAULTS, invoked=False) == ONE_LINE


@pytest.mark.parametrize(
    ("marked", "shape"),
    [
        ("def f():█\n", block(1)),
        ("    if x:█\n", block(5)),
        ("\tif x {█\n", block(2)),
        ("call(█\n", block(1)),
        ("const f = () =>█\n", block(1)),
        ("  if ready then█\n", block(3)),
        ("if x:   █\n", block(1)),
        ("def f():\n    █\n", block(4)),
        ("import os\n█\n", block(0)),
        ("x = █\n", ONE_LINE),
        ("return value█\n", ONE_LINE),
        ("if x:█  # why\n", ONE_LINE),
        ("print(█)\n", ONE_LINE),
    ],
)
def test_more_than_one_line_only_where_a_block_begins(marked: str, shape: Shape) -> None:
    assert judge(at_cursor(marked), "a.py", DEFAULTS, invoked=False) == shape


def test_never_and_always() -> None:
    never, always = Settings(multi_line="never"), Settings(multi_line="always")
    assert judge(at_cursor("def f():█\n"), "a.py", never, invoked=True) == ONE_LINE
    assert judge(at_cursor("  x = █\n"), "a.py", always, invoked=True) == block(2)


def test_every_refusal_is_a_sentence() -> None:
    assert all(refusal.value.endswith(".") and refusal.value[0].isupper() for refusal in Refusal)
