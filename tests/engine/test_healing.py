"""The text before the cursor: held back from the prompt, and the answer begins with it again."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codex_lsp.engine.generation import Generator
from codex_lsp.engine.healing import Held, PieceIndex, split_indentation
from codex_lsp.engine.model import LlamaModel
from codex_lsp.engine.request import EngineConfig, Request

INDENTATION = {
    "the model indents as the editor did": ("def f():\n    ", "    return 1", "return 1"),
    "and the lines after it keep their indent": ("def f():\n    ", "    x = 1\n    return x", "x = 1\n    return x"),
    "the model indents deeper": ("def f():\n    ", "        return 1", "    return 1"),
    "the model leaves the block": ("def f():\n    ", "print(f())", None),
    "the model leaves half of it": ("def f():\n        ", "    return 1", None),
    "an empty line comes first": ("def f():\n    ", "\n    return 1", "return 1"),
    "tabs answered with spaces": ("def f():\n\t", "    return 1", "return 1"),
    "spaces answered with a tab": ("def f():\n    ", "\treturn 1", "return 1"),
    "a blank line with some spaces comes first": ("def f():\n    ", "  \n    return 1", "return 1"),
    "only the indent so far": ("def f():\n    ", "  ", ""),
    "the very start of a file": ("  ", "  x", "x"),
    "a line with text in it": ("return ", " x", " x"),
}


@pytest.mark.parametrize(("prefix", "answer", "shown"), INDENTATION.values(), ids=INDENTATION.keys())
def test_what_is_shown_of_an_answer(prefix: str, answer: str, shown: str | None) -> None:
    _, indentation = split_indentation(prefix)
    assert Held(indentation=indentation).take_off(answer) == shown


@given(st.text("ab \t\n"))
def test_nothing_of_the_prefix_is_lost(prefix: str) -> None:
    kept, indentation = split_indentation(prefix)
    assert kept + indentation == prefix
    assert not indentation.strip(" \t")


@given(st.text(" \t", max_size=8), st.text("ab \n", max_size=12))
@settings(max_examples=200)
def test_what_is_shown_only_grows_until_the_model_leaves_the_block(indentation: str, answer: str) -> None:
    held = Held(indentation=indentation)
    shown = [held.take_off(answer[:length]) for length in range(len(answer) + 1)]
    for earlier, later in itertools.pairwise(shown):
        if earlier is None:
            assert later is None, "a completion that was given up comes back"
        elif later is not None:
            assert later.startswith(earlier)
        else:
            assert earlier == "", "text that was shown is taken back"


@given(st.lists(st.binary(max_size=4), max_size=40), st.binary(min_size=1, max_size=4))
def test_the_index_finds_every_piece_that_agrees(pieces: list[bytes], start: bytes) -> None:
    pieces = list(dict.fromkeys(piece.replace(b"\xff", b"x") for piece in pieces))
    start = start.replace(b"\xff", b"x")
    agreeing = {i for i, piece in enumerate(pieces) if piece and (piece.startswith(start) or start.startswith(piece))}
    index = PieceIndex((piece, i) for i, piece in enumerate(pieces))
    assert set(index.compatible(start)) == agreeing


@pytest.mark.model
def test_the_real_model_continues_words_and_dots(real_generator: Generator) -> None:
    stack = "class Stack:\n    def __init__(self):\n        self.items = []\n\n    def push(self, item):\n        "
    assert _line(real_generator, stack + "self.") == "items.append(item)"
    assert _line(real_generator, stack + "self.ite") == "ms.append(item)"
    assert _line(real_generator, "for row in rows:\n    pri") == "nt(row)"


@pytest.fixture(scope="module")
def real_generator(real_model: object) -> Generator:
    return Generator(LlamaModel(EngineConfig(str(real_model), n_ctx=1024), lambda _: None))


def _line(generator: Generator, prefix: str) -> str:
    request = Request(prefix, "\n", n_predict=24, deadline_ms=60_000, single_line=True)
    return generator.complete(request, generator._clock(), lambda: False, lambda _: None).text
