"""From what the model wrote to what the editor shows: a chain of small pure rules.

Each rule takes the text and the place it is for and gives back the text to keep; the golden cases in
`tests/golden` show each of them at work.
"""

from collections import Counter
from dataclasses import dataclass

from codex_lsp.document import Snapshot
from codex_lsp.engine.request import FinishReason

PAIRS = {")": "(", "]": "[", "}": "{"}


@dataclass(frozen=True, slots=True)
class Place:
    """What the rules look at besides the text."""

    snapshot: Snapshot
    finish_reason: FinishReason


def fit(text: str, snapshot: Snapshot, finish_reason: FinishReason) -> str:
    """The text to suggest at the cursor; empty when there is nothing worth showing."""
    place = Place(snapshot, finish_reason)
    for rule in RULES:
        text = rule(text, place)
    return text


def drop_unfinished_line(text: str, place: Place) -> str:
    """A text cut off by the deadline or the length ends at its last complete line, or at least word."""
    if place.finish_reason not in (FinishReason.DEADLINE, FinishReason.LENGTH):
        return text
    if "\n" in text.strip("\n"):
        return text[: text.rstrip("\n").rfind("\n")] if not text.endswith("\n") else text
    word_start = len(text)
    while word_start > 0 and (text[word_start - 1].isalnum() or text[word_start - 1] == "_"):
        word_start -= 1
    return text[:word_start] if text[:word_start].strip() else text


def drop_lines_below(text: str, place: Place) -> str:
    """The text ends where it starts to repeat the lines that stand below the cursor.

    A line is the same only with the same indent: a `}` further in closes another block. One that only closes ends
    the text whatever follows, which would be outside the block at the cursor.
    """
    below = [line.rstrip() for line in place.snapshot.suffix.split("\n")[1:] if line.strip()]
    if not below:
        return text
    first, *others = text.split("\n")
    # The first line continues the cursor's line; only what starts a line of its own can repeat one.
    lines = [line.rstrip() for line in (place.snapshot.line_prefix + first, *others)]
    for i, line in enumerate(lines):
        rest = [following for following in lines[i + 1 :] if following]
        if line == below[0] and (_only_closes(line) or rest == below[1 : 1 + len(rest)]):
            return "\n".join(text.split("\n")[:i])
    return text


def drop_line_suffix(text: str, place: Place) -> str:
    """What stands right of the cursor is not suggested again, unless its brackets close others than those there."""
    before, following = place.snapshot.line_prefix, place.snapshot.line_suffix.rstrip()
    first, newline, _ = text.partition("\n")
    if newline and following and first.endswith(following):
        kept = first.removesuffix(following)
        if _all_close(before + kept, following):
            return kept  # the line is complete, and what the text has below it cannot stand inside the line
    for n in range(min(len(text), len(following)), 0, -1):
        if text.endswith(following[:n]) and _all_close(before + text[:-n], following):
            return text[:-n]
    return text


def drop_trailing_space(text: str, _: Place) -> str:
    """No white space at the end, where nobody would see it."""
    return text.rstrip()


RULES = (drop_unfinished_line, drop_lines_below, drop_line_suffix, drop_trailing_space)


def _only_closes(line: str) -> bool:
    return not line.strip(" \t)]};,")


def _all_close(line: str, following: str) -> bool:
    """Whether what follows closes every bracket that the line so far leaves open."""
    still_open: Counter[str] = Counter()
    for char in line:
        if char in PAIRS.values():
            still_open[char] += 1
        elif char in PAIRS and still_open[PAIRS[char]] > 0:
            still_open[PAIRS[char]] -= 1
    closed = Counter(PAIRS[char] for char in following if char in PAIRS)
    return still_open <= closed
