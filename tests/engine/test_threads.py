"""The thread governor on a machine of made-up speed: it finds the quicker count, follows a change, and looks rarely."""

from collections.abc import Callable
from itertools import pairwise

import pytest

from codex_lsp.engine.threads import ThreadGovernor
from tests.fakes import FakeClock

FREE = {1: 0.050, 2: 0.025, 4: 0.015}
# Another program on one core: threads that wait for each other wait for it.
BUSY = {1: 0.050, 2: 0.140, 4: 0.400}


def run(governor: ThreadGovernor, clock: FakeClock, cost: Callable[[int], float], seconds: float) -> dict[int, float]:
    """Decode tokens for this long; the time spent with each thread count."""
    spent: dict[int, float] = {}
    until = clock.now + seconds
    while clock.now < until:
        n_threads = governor.n_threads
        took = cost(n_threads)
        clock.now += took
        spent[n_threads] = spent.get(n_threads, 0.0) + took
        governor.saw(1, took)
    return spent


@pytest.mark.parametrize("n_look_steps", [1, 2])
@pytest.mark.parametrize(("machine", "best"), [(FREE, 4), (BUSY, 1)])
def test_it_settles_on_the_quicker_count(machine: dict[int, float], best: int, n_look_steps: int) -> None:
    clock = FakeClock()
    governor = ThreadGovernor(4, n_look_steps, clock)
    run(governor, clock, machine.__getitem__, 10)
    spent = run(governor, clock, machine.__getitem__, 60)
    assert max(spent, key=lambda count: spent[count]) == best
    assert spent[best] > 0.9 * sum(spent.values())


def test_a_core_that_is_taken_and_given_back_is_noticed() -> None:
    clock = FakeClock()
    governor = ThreadGovernor(2, 2, clock)
    run(governor, clock, FREE.__getitem__, 10)
    assert governor.n_threads == 2
    run(governor, clock, BUSY.__getitem__, 3)
    spent = run(governor, clock, BUSY.__getitem__, 60)
    assert spent[1] > 0.9 * sum(spent.values())
    run(governor, clock, FREE.__getitem__, 20)
    spent = run(governor, clock, FREE.__getitem__, 60)
    assert spent[2] > 0.9 * sum(spent.values())


def test_a_core_that_is_taken_is_noticed_within_a_few_tokens() -> None:
    clock = FakeClock()
    governor = ThreadGovernor(2, 2, clock)
    run(governor, clock, FREE.__getitem__, 10)
    run(governor, clock, BUSY.__getitem__, 0.5)
    assert governor.n_threads == 1


def test_looking_at_a_bad_count_takes_a_twentieth_of_the_time_and_one_step() -> None:
    clock = FakeClock()
    governor = ThreadGovernor(2, 2, clock)
    taken: list[int] = []

    def cost(n_threads: int) -> float:
        taken.append(n_threads)
        return {1: 0.05, 2: 0.5}[n_threads]

    spent = run(governor, clock, cost, 300)
    assert 0 < spent[2] < sum(spent.values()) / 20
    assert (2, 2) not in pairwise(taken), "a look that turns out badly is broken off"


def test_one_core_has_nothing_to_choose() -> None:
    clock = FakeClock()
    governor = ThreadGovernor(1, 2, clock)
    assert set(run(governor, clock, lambda _: 0.05, 20)) == {1}


@pytest.mark.parametrize("n_max", [1, 2, 3, 6, 8, 12])
def test_the_first_step_takes_one_thread_and_none_takes_more_than_there_are(n_max: int) -> None:
    clock = FakeClock()
    governor = ThreadGovernor(n_max, 1, clock)
    assert governor.n_threads == 1
    spent = run(governor, clock, lambda n_threads: 0.1 / n_threads, 30)
    assert max(spent) == n_max
