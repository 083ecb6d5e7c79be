"""The KV cache: the right slot, nothing lost that could be kept, never more than there is room for."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codex_lsp.engine.kv_cache import N_SLOTS, KVCache, Slot, shared_prefix


@dataclass
class FakeMemory:
    """Takes note of what is dropped; a recurrent one can only drop everything."""

    recurrent: bool = False
    dropped: list[tuple[int, int]] = field(default_factory=list)

    def truncate(self, seq_id: int, n_past: int) -> bool:
        if self.recurrent and n_past > 0:
            return False
        self.dropped.append((seq_id, n_past))
        return True


def fill(cache: KVCache, prompt: list[int], n_predict: int = 0) -> Slot:
    """Acquire a slot and prefill it, as the generator does."""
    slot = cache.acquire(prompt, n_predict)
    slot.tokens += prompt[len(slot.tokens) :]
    return slot


def test_a_longer_prompt_finds_all_of_the_shorter_one() -> None:
    cache = KVCache(FakeMemory(), n_cells=100)
    fill(cache, [1, 2, 3, 4])
    assert cache.acquire([1, 2, 3, 4, 5, 6], 0).tokens == [1, 2, 3, 4]


def test_the_same_prompt_decodes_its_last_token_again_for_its_logits() -> None:
    cache = KVCache(FakeMemory(), n_cells=100)
    fill(cache, [1, 2, 3, 4])
    assert cache.acquire([1, 2, 3, 4], 0).tokens == [1, 2, 3]


def test_an_edit_keeps_what_is_before_it_and_drops_the_rest_from_memory() -> None:
    memory = FakeMemory()
    cache = KVCache(memory, n_cells=100)
    seq_id = fill(cache, [1, 2, 3, 4, 5]).seq_id
    assert cache.acquire([1, 2, 3, 9], 0).tokens == [1, 2, 3]
    assert memory.dropped == [(seq_id, 3)]


def test_memory_that_cannot_drop_a_part_is_emptied() -> None:
    memory = FakeMemory(recurrent=True)
    cache = KVCache(memory, n_cells=100)
    slot = fill(cache, [1, 2, 3, 4, 5])
    again = cache.acquire([1, 2, 3, 9], 0)
    assert (again.seq_id, again.tokens) == (slot.seq_id, [])
    assert memory.dropped == [(slot.seq_id, 0)]


def test_another_place_gets_a_slot_of_its_own_and_both_stay_warm() -> None:
    cache = KVCache(FakeMemory(), n_cells=100)
    a, b = fill(cache, [1, 2, 3, 4]), fill(cache, [5, 6, 7, 8])
    assert a.seq_id != b.seq_id
    assert cache.acquire([1, 2, 3, 4, 9], 0) is a
    assert cache.acquire([5, 6, 7, 8, 9], 0) is b


def test_a_short_common_beginning_is_no_reason_to_give_up_another_place() -> None:
    cache = KVCache(FakeMemory(), n_cells=100)
    a = fill(cache, [0, 1, 2, 3, 4, 5])
    assert cache.acquire([0, 9, 9, 9, 9, 9], 0) is not a


def test_when_all_slots_are_taken_the_one_longest_unused_goes() -> None:
    cache = KVCache(FakeMemory(), n_cells=100)
    slots = [fill(cache, [place] * 5) for place in range(N_SLOTS)]
    fill(cache, [0] * 6)  # the oldest is used again, so that the second is the oldest now
    assert fill(cache, [99] * 5) is slots[1]


def test_cells_run_out_by_the_longest_unused_slot_first() -> None:
    cache = KVCache(FakeMemory(), n_cells=20)
    a, b = fill(cache, [1] * 6), fill(cache, [2] * 6)
    c = cache.acquire([3] * 6, 4)
    assert (a.tokens, b.tokens, c.tokens) == ([], [2] * 6, [])


def test_clearing_empties_the_memory_even_of_slots_that_hold_nothing_yet() -> None:
    # The decode that failed may have left cells behind for tokens that were never counted.
    memory = FakeMemory()
    cache = KVCache(memory, n_cells=100)
    slot = fill(cache, [1, 2, 3])
    cache.clear()
    assert slot.tokens == []
    assert memory.dropped == [(seq_id, 0) for seq_id in range(N_SLOTS)]


@pytest.mark.parametrize(
    ("held", "prompt", "n"),
    [([], [], 0), ([], [1], 0), ([1, 2], [1, 2, 3], 2), ([1, 2, 3], [1, 2], 2), ([1, 9, 3], [1, 2, 3], 1)],
)
def test_shared_prefix(held: list[int], prompt: list[int], n: int) -> None:
    assert shared_prefix(held, prompt) == n


prompts = st.lists(st.integers(0, 2), min_size=1, max_size=12)


@given(st.lists(st.tuples(prompts, st.integers(0, 6)), max_size=20), st.booleans())
@settings(max_examples=200, deadline=None)
def test_any_run_of_prompts_keeps_the_books_straight(runs: list[tuple[list[int], int]], recurrent: bool) -> None:
    n_cells = 20
    memory = FakeMemory(recurrent)
    cache = KVCache(memory, n_cells)
    slots: dict[int, Slot] = {}
    for prompt, n_predict in runs:
        slot = cache.acquire(prompt, n_predict)
        slots[slot.seq_id] = slot
        assert len(slot.tokens) < len(prompt), "the last token's logits are needed"
        assert slot.tokens == prompt[: len(slot.tokens)]
        others = sum(len(other.tokens) for other in slots.values() if other is not slot)
        assert others + len(prompt) + n_predict <= n_cells
        slot.tokens += [*prompt[len(slot.tokens) :], *[3] * n_predict]
