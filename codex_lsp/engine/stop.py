"""Where a completion ends, decided while it is being decoded: every token not decoded is time given back.

The rules look at whole text, are pure, and are asked after each token:

    single line     the first line end
    dedent          a line indented less than the block at the cursor; one closing bracket back at the
                    opener's own level still belongs to the block
    paragraph       at the top level of a file there is no block to leave, so a blank line ends the text
    suffix          a line that stands below the cursor already
    blank lines     two in a row: the model has nothing more to say here
"""

import re
from dataclasses import dataclass

CLOSER = re.compile(r"[})\]]|end\b")
CLOSING_WORD = "end"
OPENERS = ("{", "(", "[", ":")
# Shorter lines ("}", "else:") repeat in honest code.
MIN_REPEATED_LINE = 6


@dataclass(frozen=True, slots=True)
class StopRules:
    """The rules for one request. `next_line` is the first line below the cursor with text in it, with its indent."""

    single_line: bool
    base_indent: int | None
    next_line: str

    @classmethod
    def of(cls, suffix: str, single_line: bool, base_indent: int | None) -> "StopRules":
        """The rules for a hole that `suffix` follows."""
        _, _, below = suffix.partition("\n")
        next_line = next((line.rstrip() for line in below.split("\n") if line.strip()), "")
        return cls(single_line, base_indent, next_line)

    def cut(self, text: str) -> int | None:
        """The index at which `text` must end, or None while it may go on."""
        if self.single_line:
            newline = text.find("\n")
            return newline if newline >= 0 else None
        return self._first_line_outside(text)

    def _first_line_outside(self, text: str) -> int | None:
        start = text.find("\n") + 1
        blank_before = False
        while start > 0:
            newline = text.find("\n", start)
            finished = newline >= 0
            line = text[start : newline if finished else len(text)]
            if line.strip():
                outside = self._outside(line, finished, blank_before, text[:start])
                if outside is not None:
                    return start - 1 if outside == "before" else start + len(line)
                blank_before = False
            elif finished:
                if blank_before:
                    return start - 1
                blank_before = True
            start = newline + 1
        return None

    def _outside(self, line: str, finished: bool, blank_before: bool, text_before: str) -> str | None:
        """Whether this line with text in it ends the completion: "before" it, "after" it, or not (None)."""
        stripped = line.strip()
        if finished and len(stripped) >= MIN_REPEATED_LINE and line.rstrip() == self.next_line:
            return "before"
        if self.base_indent is None:
            return None
        indent = len(line) - len(line.lstrip())
        if indent < self.base_indent:
            if blank_before or not _closes(stripped, finished):
                return "before"
            # Only its line end tells `}` from `} else {`, which is the next block already.
            if not finished:
                return None
            return "before" if stripped.endswith(OPENERS) else "after"
        if self.base_indent == 0 and blank_before and text_before.strip():
            return "before"
        return None


def _closes(stripped: str, finished: bool) -> bool:
    """Whether a line begins with a closer, or may yet: `en` can become `end`."""
    return CLOSER.match(stripped) is not None or (not finished and CLOSING_WORD.startswith(stripped))
