"""The white space before the cursor, held back from the prompt and taken off the answer.

Tokenizers keep white space together with the word that follows: an indented `return` is "␣␣␣" and "␣return". A prompt
that ends in the four spaces the editor typed asks for a split the model has never seen, and it indents once more or
writes something else. So the prompt ends before that white space, and the model writes it again:

    prompt   def area(r):⏎              held  ␣␣␣␣
    answer   ␣␣␣␣return 3.14 * r        shown return 3.14 * r

An answer that indents less than what is held wants to leave the block: there is nothing to say at this cursor.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Held:
    """White space that stands before the cursor; `indentation` when the line has nothing else before it."""

    text: str
    indentation: bool

    def take_off(self, answer: str) -> str | None:
        """What of the answer comes after the held white space; None when the model leaves the block."""
        if not self.indentation:
            return answer.removeprefix(_shared(self.text, answer))
        answer = answer.lstrip("\n")
        if answer.startswith(self.text):
            return answer[len(self.text) :]
        rest = answer.lstrip(" \t")
        if not rest:
            return ""
        # Tabs answered with spaces, or the other way round, still say how deep the line is meant to be.
        return rest if len(answer) - len(rest) >= len(self.text) else None


def hold_back(prefix: str) -> tuple[str, Held]:
    """The prefix without the white space at its end, and that white space."""
    kept = prefix.rstrip(" \t")
    return kept, Held(prefix[len(kept) :], indentation=kept.endswith("\n") or not kept)


def _shared(held: str, answer: str) -> str:
    n = 0
    while n < min(len(held), len(answer)) and held[n] == answer[n]:
        n += 1
    return held[:n]
