"""Where a completion ends, and that it ends there however many tokens arrive at once."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codex_lsp.engine.stop import StopRules


def rules(base_indent: int | None, next_line: str = "", *, single_line: bool = False) -> StopRules:
    return StopRules(single_line, base_indent, next_line)


# `|` is where the text must end; without one it may go on.
CASES = {
    "single line: its end": (rules(4, single_line=True), "return x|\n    y"),
    "single line: an empty rest": (rules(4, single_line=True), "|\n"),
    "single line: not over yet": (rules(4, single_line=True), "return x"),
    "the block goes on": (rules(4), "a = 1\n    b = 2\n\n        c = 3\n"),
    "dedent": (rules(4), "return x|\nprint(1)"),
    "dedent after a blank line": (rules(4), "return x\n|\nprint(1)"),
    "dedent by one column": (rules(4), "return x|\n   y"),
    "an indent alone may still grow": (rules(4), "return x\n  "),
    "closer: waits for its line end": (rules(4), "foo()\n}"),
    "closer: belongs to the block": (rules(4), "foo()\n}|\n"),
    "closer: with what ends a statement": (rules(4), "foo()\n});|\nbar()"),
    "closer: end": (rules(2), "foo\nend|\n"),
    "closer: may become end": (rules(2), "foo\nen"),
    "closer: a word that begins with end": (rules(2), "foo|\nendpoint"),
    "closer: opens the next block": (rules(4), "foo()|\n} else {\n    bar()"),
    "closer: after a blank line": (rules(4), "foo()\n|\n}\n"),
    "paragraph at the top level": (rules(0), "import os\n|\nx = 1"),
    "top level: lines without a gap": (rules(0), "import os\nimport re\n"),
    "top level: starts with a gap": (rules(0), "\n\nx = 1"),
    "no indent given: runs on": (rules(None), "import os\n\nx = 1\ny"),
    "next line repeated": (rules(None, "    return total"), "x += 1|\n    return total\n"),
    "next line repeated: at another indent": (rules(None, "return total"), "x += 1\n    return total\n"),
    "next line repeated: not finished": (rules(None, "    return total"), "x += 1\n    return total"),
    "next line repeated: more than it": (rules(None, "    return total"), "x += 1\n    return total + 1\n"),
    "next line repeated: too short to tell": (rules(None, "}"), "x\n}\ny"),
    "two blank lines": (rules(None), "x = 1\n|\n\n"),
    "two blank lines with blanks in them": (rules(None), "x = 1\n  |\n  \n"),
    "two blank lines: the second not finished": (rules(None), "x = 1\n\n  "),
}


@pytest.mark.parametrize(("rule", "marked"), CASES.values(), ids=CASES.keys())
def test_where_it_ends(rule: StopRules, marked: str) -> None:
    text = marked.replace("|", "")
    assert rule.cut(text) == (marked.index("|") if "|" in marked else None)


def test_the_next_line_is_the_first_below_the_cursor_with_text_in_it() -> None:
    assert StopRules.of(")  # same line\n\n    return total\nx", False, 0).next_line == "    return total"
    assert StopRules.of("", False, 0).next_line == ""


lines = st.lists(
    st.sampled_from(["", " ", "    ", "a", "en", "}", "end", " return total", "    b", "} else {", "\t", ")"]),
    min_size=1,
    max_size=8,
)
any_rules = st.builds(StopRules, st.booleans(), st.sampled_from([None, 0, 1, 4]), st.sampled_from(["", "return total"]))


@given(any_rules, lines)
@settings(max_examples=400, deadline=None)
def test_more_text_never_moves_the_end(rule: StopRules, parts: list[str]) -> None:
    text = "\n".join(parts)
    cuts = [rule.cut(text[:length]) for length in range(len(text) + 1)]
    first = next((i for i, cut in enumerate(cuts) if cut is not None), len(cuts))
    assert set(cuts[first:]) <= {cuts[first] if first < len(cuts) else None}
    assert all(cut <= i for i, cut in enumerate(cuts) if cut is not None)
