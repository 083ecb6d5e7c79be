"""A model without llama.cpp and a clock without time, for tests of what is built on them."""

import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from codex_lsp.engine.fim import Template
from codex_lsp.engine.kv_cache import N_SLOTS
from codex_lsp.engine.request import FimOrder

PRE, SUF, MID, END = 1001, 1002, 1003, 1004
# This and n more is the token of n spaces.
SPACES = 2000
# What the model writes when it has no script: lines of a few words, never an end.
LETTERS = b"abcdefghijklmnop    \n"


class Step(NamedTuple):
    """One call of `FakeModel.decode`."""

    seq_id: int
    n_past: int
    tokens: tuple[int, ...]
    sample: bool


class Overfull(Exception):
    """More tokens than the cache has cells: what llama_decode answers with status 1."""


def template(order: FimOrder) -> Template:
    """The fake model's markers in one of the orders."""
    markers = frozenset({PRE, SUF, MID, END})
    return Template("fake", order, prefix_id=PRE, suffix_id=SUF, middle_id=MID, stop_ids=markers)


@dataclass
class FakeClock:
    """Seconds that pass only when told."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class FakeModel:
    """A `generation.Model` that keeps real account of what its KV memory holds.

    Every byte is a token, and so is a run of spaces. What it writes depends on all the tokens that a sequence
    holds, so a wrong cache gives a wrong text; after `says` it writes that instead, and then ends. `before_step`
    is called with each step before it is done: to cancel, to let time pass, or to fail.
    """

    template: Template = field(default_factory=lambda: template("psm"))
    n_ctx: int = 2048
    n_threads: int = 1
    before_step: Callable[[Step], None] = lambda _: None
    drops_parts: bool = True
    steps: list[Step] = field(default_factory=list)
    held: dict[int, list[int]] = field(default_factory=lambda: {seq_id: [] for seq_id in range(N_SLOTS)})
    script: Iterator[int] | None = None

    def says(self, text: str | bytes) -> None:
        """Write `text` next, and then end."""
        self.script = iter(text.encode() if isinstance(text, str) else text)

    @property
    def n_prefilled(self) -> int:
        """Tokens decoded in all, for prompts and for texts."""
        return sum(len(step.tokens) for step in self.steps)

    def tokenize(self, text: str) -> list[int]:
        runs = re.findall(rb" {2,}|.", text.encode("utf-8", "replace"), re.DOTALL)
        return [run[0] if len(run) == 1 else SPACES + len(run) for run in runs]

    def is_end(self, token: int) -> bool:
        return token in self.template.stop_ids or token == END

    def piece(self, token: int) -> bytes:
        return b" " * (token - SPACES) if token > SPACES else bytes([token])

    def decode(
        self, seq_id: int, n_past: int, tokens: Sequence[int], *, sample: bool, start: bytes, n_threads: int
    ) -> int | None:
        step = Step(seq_id, n_past, tuple(tokens), sample)
        self.before_step(step)
        self.steps.append(step)
        assert tokens, "an empty batch"
        assert n_past == len(self.held[seq_id]), "positions with a gap, or twice"
        self.held[seq_id] += tokens
        if sum(map(len, self.held.values())) > self.n_ctx:
            raise Overfull
        if not sample:
            return None
        if start:
            return start[0]
        if self.script is not None:
            return next(self.script, END)
        return LETTERS[zlib.crc32(repr(self.held[seq_id]).encode()) % len(LETTERS)]

    def truncate(self, seq_id: int, n_past: int) -> bool:
        if n_past > 0 and not self.drops_parts:
            return False
        del self.held[seq_id][n_past:]
        return True
