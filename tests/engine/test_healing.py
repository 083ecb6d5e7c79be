"""White space before the cursor: held back from the prompt, and taken off the answer."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codex_lsp.engine.healing import hold_back

CASES = {
    "the model indents as the editor did": ("def f():\n    ", "    return 1", "return 1"),
    "and the lines after it keep their indent": ("def f():\n    ", "    x = 1\n    return x", "x = 1\n    return x"),
    "the model indents deeper": ("def f():\n    ", "        return 1", "    return 1"),
    "the model leaves the block": ("def f():\n    ", "print(f())", None),
    "the model leaves half of it": ("def f():\n        ", "    return 1", None),
    "an empty line comes first": ("def f():\n    ", "\n    return 1", "return 1"),
    "tabs answered with spaces": ("def f():\n\t", "    return 1", "return 1"),
    "only the indent so far": ("def f():\n    ", "  ", ""),
    "the very start of a file": ("  ", "  x", "x"),
    "a space after a word": ("return ", " x", "x"),
    "a space the model does not repeat": ("x = ", "1", "1"),
    "two spaces, one repeated": ("x =  ", " 1", "1"),
    "more than was typed": ("x = ", "   1", "  1"),
    "nothing held": ("x =", " 1", " 1"),
}


@pytest.mark.parametrize(("prefix", "answer", "shown"), CASES.values(), ids=CASES.keys())
def test_what_is_shown_of_an_answer(prefix: str, answer: str, shown: str | None) -> None:
    _, held = hold_back(prefix)
    assert held.take_off(answer) == shown


@given(st.text("ab \t\n"))
def test_nothing_of_the_prefix_is_lost(prefix: str) -> None:
    kept, held = hold_back(prefix)
    assert kept + held.text == prefix
    assert not kept.endswith((" ", "\t"))
    assert not held.text.strip(" \t")


@given(st.text("a \t\n", max_size=8), st.text("ab \n", max_size=12))
@settings(max_examples=200)
def test_what_is_shown_only_grows_until_the_model_leaves_the_block(prefix: str, answer: str) -> None:
    _, held = hold_back(prefix)
    shown = [held.take_off(answer[:length]) for length in range(len(answer) + 1)]
    for earlier, later in itertools.pairwise(shown):
        if earlier is None:
            assert later is None, "a completion that was given up comes back"
        elif later is not None:
            assert later.startswith(earlier)
        else:
            assert earlier == "", "text that was shown is taken back"
