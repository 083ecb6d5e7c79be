"""How much of the file the model sees, and where that window starts.

The window's start decides what a keystroke costs: text that begins elsewhere is other tokens from the first one
on, and the KV cache is worth nothing. So the start stays on its line while the prefix fits, and then moves down in
one big step that leaves room to type:

    line  10 ┌ start                          10
          40 │ cursor, types on …             50 ┌ start moved once the prefix outgrew its part
          90 └ prefix is full                 90 └ cursor
"""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

from codex_lsp.document import Document

# Characters per token. Qwen2.5's vocabulary makes 3.5 of C headers, 4.1 of JavaScript and 4.3 of Python's standard
# library; the densest of them, so that a window is rather read too soon than too late.
CHARS_PER_TOKEN = 3.5
SUFFIX_SHARE = 0.2
# After a move the prefix fills this much of its part, so the next move is far away.
REFILL_SHARE = 0.6
# A file whose text above the cursor fits into this much of the part is taken from its first line.
WHOLE_SHARE = 0.9
# Reading a cold window should take about this long; after that a key costs only itself.
COLD_PREFILL_S = 2.5
MIN_TOKENS, MAX_TOKENS = 192, 2048
N_REMEMBERED = 256


@dataclass(frozen=True, slots=True)
class Budget:
    """The window's size in characters."""

    prefix_chars: int
    suffix_chars: int

    @classmethod
    def of_tokens(cls, n_tokens: int) -> "Budget":
        """A window of about `n_tokens`."""
        chars = n_tokens * CHARS_PER_TOKEN
        return cls(prefix_chars=int(chars * (1 - SUFFIX_SHARE)), suffix_chars=int(chars * SUFFIX_SHARE))


def affordable_tokens(prefill_per_s: float) -> int:
    """How long a window this machine can read in `COLD_PREFILL_S` at a measured prefill speed (tokens/s)."""
    return max(MIN_TOKENS, min(MAX_TOKENS, int(prefill_per_s * COLD_PREFILL_S)))


class Windows:
    """Remembers where each document's window starts."""

    def __init__(self) -> None:
        self._first_lines: OrderedDict[Hashable, int] = OrderedDict()

    def lines(self, key: Hashable, document: Document, line: int, budget: Budget) -> tuple[int, int]:
        """The first and last line of the window around `line`; the first stays where it was if it can."""
        first = self._first_lines.get(key)
        if first is None or not self._still_good(first, document, line, budget):
            whole = _first_line(document, line, int(budget.prefix_chars * WHOLE_SHARE)) == 0
            first = 0 if whole else _first_line(document, line, int(budget.prefix_chars * REFILL_SHARE))
        self._first_lines[key] = first
        self._first_lines.move_to_end(key)
        if len(self._first_lines) > N_REMEMBERED:
            self._first_lines.popitem(last=False)
        return first, _last_line(document, line, budget.suffix_chars)

    @staticmethod
    def _still_good(first: int, document: Document, line: int, budget: Budget) -> bool:
        if first > line:
            return False
        held = document.chars_between(first, line)
        # A window that shrank because the cursor went up wastes what the machine could read.
        starved = first > 0 and held < budget.prefix_chars * REFILL_SHARE / 2
        return held <= budget.prefix_chars and not starved


def lines_around(document: Document, line: int, chars_above: int, chars_below: int) -> tuple[int, int]:
    """The lines that hold so many characters on each side of `line`, a little more rather than less."""
    return max(0, _first_line(document, line, chars_above) - 1), _last_line(document, line, chars_below) + 1


def _first_line(document: Document, line: int, chars: int) -> int:
    while line > 0 and (chars := chars - document.line_length(line - 1)) >= 0:
        line -= 1
    return line


def _last_line(document: Document, line: int, chars: int) -> int:
    last = document.line_count - 1
    while line < last and (chars := chars - document.line_length(line + 1)) >= 0:
        line += 1
    return line
