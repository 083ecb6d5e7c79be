"""From what the model wrote to what the editor shows: a chain of small pure rules.

Each rule takes the text and the place it is for and gives back the text to keep; the golden cases in
`tests/golden` show each of them at work.
"""

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
    if place.finish_reason is FinishReason.LENGTH:
        return text
    word_start = len(text)
    while word_start > 0 and (text[word_start - 1].isalnum() or text[word_start - 1] == "_"):
        word_start -= 1
    return text[:word_start] if text[:word_start].strip() else text


def drop_lines_below(text: str, place: Place) -> str:
    """The text ends where it starts to repeat the lines that stand below the cursor."""
    below = [line.strip() for line in place.snapshot.suffix.split("\n")[1:] if line.strip()]
    if not below:
        return text
    lines = text.split("\n")
    # The first line continues the cursor's line; only what starts a line of its own can repeat one.
    whole_first = place.snapshot.line_prefix + lines[0]
    for i, line in enumerate([whole_first, *lines[1:]]):
        rest = [following.strip() for following in lines[i + 1 :] if following.strip()]
        if line.strip() and line.strip() == below[0] and rest == below[1 : 1 + len(rest)]:
            return "\n".join(lines[:i])
    return text


def drop_line_suffix(text: str, place: Place) -> str:
    """What stands right of the cursor is not suggested again, unless its brackets close ones the text opened."""
    following = place.snapshot.line_suffix.rstrip()
    if not following or "\n" in text:
        return text
    for n in range(min(len(text), len(following)), 0, -1):
        if text.endswith(following[:n]) and _is_not_needed(text[:-n], following[:n]):
            return text[:-n]
    return text


def drop_trailing_space(text: str, _: Place) -> str:
    """No white space at the end, where nobody would see it."""
    return text.rstrip()


RULES = (drop_unfinished_line, drop_lines_below, drop_line_suffix, drop_trailing_space)


def _is_not_needed(before: str, overlap: str) -> bool:
    """Whether `before` leaves open none of the brackets that `overlap` would close."""
    open_brackets: list[str] = []
    for char in before:
        if char in PAIRS.values():
            open_brackets.append(char)
        elif char in PAIRS and open_brackets and open_brackets[-1] == PAIRS[char]:
            open_brackets.pop()
    return not any(PAIRS.get(char) in open_brackets for char in overlap)
