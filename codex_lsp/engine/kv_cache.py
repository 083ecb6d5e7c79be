"""Which tokens sit in which sequence of llama.cpp's KV cache, so that nothing is prefilled twice.

One unified cache of `n_cells` is shared by a few slots, each remembering one place (a file, an editor):

    slot 0   PRE SUF ····suffix···· MID ·······prefix of a.py·······│ typed
    slot 1   PRE SUF ··suffix·· MID ···prefix of b.ts···│
                                        shared with the new prompt ─┘ only what follows is prefilled

The cache knows tokens and nothing of text; `Memory` is the part of llama.cpp it needs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

N_SLOTS = 4
# A slot that shares less than this part of itself with a prompt holds another place, worth keeping for later.
KEEP_SHARE = 0.5


class Memory(Protocol):
    """llama.cpp's KV memory, by sequence."""

    def truncate(self, seq_id: int, n_past: int) -> bool:
        """Drop everything from position `n_past` on; False when this kind of memory cannot drop a part."""
        ...


@dataclass(slots=True)
class Slot:
    """One kept sequence: the tokens that stand in the cache, in order from position 0."""

    seq_id: int
    tokens: list[int] = field(default_factory=list)
    used_at: int = 0


class KVCache:
    """Hands out the slot that already holds most of a prompt."""

    def __init__(self, memory: Memory, n_cells: int, n_slots: int = N_SLOTS) -> None:
        self._memory = memory
        self._n_cells = n_cells
        self._slots = [Slot(seq_id) for seq_id in range(n_slots)]
        self._clock = 0

    def acquire(self, prompt: Sequence[int], n_predict: int) -> Slot:
        """A slot whose tokens are a proper prefix of `prompt`, with cells free for the rest and `n_predict` more.

        The last prompt token is never counted as held: its logits are needed, so it is decoded again.
        """
        slot = self._best(prompt)
        shared = min(shared_prefix(slot.tokens, prompt), len(prompt) - 1)
        self._truncate(slot, shared)
        self._make_room(slot, len(prompt) + n_predict)
        self._clock += 1
        slot.used_at = self._clock
        return slot

    def clear(self) -> None:
        """Forget everything, as after a failed decode that leaves the cache in an unknown state."""
        for slot in self._slots:
            # Also where no tokens are counted: the failed decode may have left cells behind.
            self._memory.truncate(slot.seq_id, 0)
            slot.tokens.clear()

    def _best(self, prompt: Sequence[int]) -> Slot:
        best = max(self._slots, key=lambda slot: (shared_prefix(slot.tokens, prompt), slot.used_at))
        shared = shared_prefix(best.tokens, prompt)
        if best.tokens and shared >= KEEP_SHARE * min(len(best.tokens), len(prompt)):
            return best
        return min(self._slots, key=lambda slot: (bool(slot.tokens), slot.used_at))

    def _make_room(self, keep: Slot, n_needed: int) -> None:
        others = sorted((s for s in self._slots if s is not keep and s.tokens), key=lambda s: s.used_at)
        held = sum(len(slot.tokens) for slot in others)
        for slot in others:
            if held + n_needed <= self._n_cells:
                return
            held -= len(slot.tokens)
            self._truncate(slot, 0)

    def _truncate(self, slot: Slot, n_past: int) -> None:
        if n_past == len(slot.tokens):
            return
        if not self._memory.truncate(slot.seq_id, n_past):
            # Recurrent and sliding-window memories can only be emptied whole.
            self._memory.truncate(slot.seq_id, 0)
            n_past = 0
        del slot.tokens[n_past:]


def shared_prefix(held: Sequence[int], prompt: Sequence[int]) -> int:
    """How many leading tokens the two have in common."""
    n = min(len(held), len(prompt))
    if held[:n] == prompt[:n]:
        return n
    return next(i for i in range(n) if held[i] != prompt[i])
