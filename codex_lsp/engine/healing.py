"""The text right before the cursor, held back from the prompt and asked for again.

People stop typing in the middle of what the model knows as one token: `self.` is "self" and the beginning of ".name",
the four spaces before a `return` are "␣␣␣" and the beginning of "␣return". A prompt that ends there asks for a split
the model has never seen. So the prompt ends a token earlier, and the answer is made to begin with what was held back:

    typed    return self.          prompt  return self       held  .
    answer   .balance              shown   balance

An indentation is held back but not forced: an answer that indents less wants to leave the block, and then there is
nothing to say at this cursor.
"""

import re
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass

BLANK_LINES = re.compile(r"(?:[ \t]*\n)+")
# What a tab is worth when one side indents with tabs and the other with spaces.
TAB = 4


@dataclass(frozen=True, slots=True)
class Held:
    """What the prompt leaves out: either the bytes of a `token`, or the `indentation` of an otherwise empty line."""

    token: bytes = b""
    indentation: str = ""

    def missing(self, answer: bytes) -> bytes:
        """What the answer still has to say before it goes beyond the held token."""
        return self.token[len(answer) :]

    def take_off(self, text: str) -> str | None:
        """What of an answer comes after the held indentation; None when the model leaves the block."""
        if not self.indentation:
            return text
        text = text[_blank_lines(text) :]
        if not text.strip():
            return ""
        if text.startswith(self.indentation):
            return text[len(self.indentation) :]
        rest = text.lstrip(" \t")
        # Tabs answered with spaces, or the other way round, still say how deep the line is meant to be.
        return rest if _width(text[: -len(rest)]) >= _width(self.indentation) else None


def split_indentation(prefix: str) -> tuple[str, str]:
    """The prefix without the indentation it ends in, and that indentation; "" when the line has text already."""
    kept = prefix.rstrip(" \t")
    return (prefix, "") if kept and not kept.endswith("\n") else (kept, prefix[len(kept) :])


class PieceIndex:
    """All tokens of a vocabulary by their bytes, to find those an answer may begin with."""

    def __init__(self, pieces: Iterable[tuple[bytes, int]]) -> None:
        by_piece = sorted((piece, token) for piece, token in pieces if piece)
        self._pieces = [piece for piece, _ in by_piece]
        self._tokens = [token for _, token in by_piece]

    def compatible(self, start: bytes) -> list[int]:
        """The tokens that begin with `start`, and those that are a beginning of it."""
        first, last = self._range(start)
        found = self._tokens[first:last]
        for length in range(1, len(start)):
            at = bisect_left(self._pieces, start[:length])
            if at < len(self._pieces) and self._pieces[at] == start[:length]:
                found.append(self._tokens[at])
        return found

    def _range(self, start: bytes) -> tuple[int, int]:
        first = bisect_left(self._pieces, start)
        # 0xff is in no UTF-8 text, so this is past every piece that begins with `start`.
        return first, bisect_left(self._pieces, start + b"\xff" * 8, lo=first)


def _blank_lines(text: str) -> int:
    """The length of the lines at the start of `text` that have nothing in them."""
    match = BLANK_LINES.match(text)
    return match.end() if match else 0


def _width(white_space: str) -> int:
    return len(white_space.expandtabs(TAB))
