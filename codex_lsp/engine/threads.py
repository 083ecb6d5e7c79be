"""How many threads compute, chosen by what is measured now, not by the number of cores.

ggml's threads wait for each other by spinning. On a free machine that is fastest; when the user's compiler takes one
core, every thread waits for the one that shares it, and all of them burn time doing so. Measured with the 0.5B file
on two cores, tokens decoded per second:

                          2 threads   1 thread
    free machine             40          20
    one core taken          1 to 8       20

So the governor keeps comparing: it begins with one thread, which is never bad, does a step or two with half or twice
as many now and then, and stays with what was quicker. A look that turned out badly is broken off, and followed by a
long time without one, so that looking costs a twentieth of the time at most.
"""

import time
from collections.abc import Callable

# The least time between two looks at another thread count, and how much longer than the look itself it must be.
LOOK_EVERY_S = 2.0
LOOK_SHARE = 20
# A step this much slower than usual means that something else wants the cores: look at once.
SUDDEN = 2.0
# Another count must be this much quicker; less is noise.
QUICKER = 0.9
AVERAGE_WEIGHT = 0.4


class ThreadGovernor:
    """The thread count for one kind of step (prefill or decode).

    `n_look_steps` is how many steps a look takes: one long prefill slice says enough, a single token does not.
    """

    def __init__(self, n_max: int, n_look_steps: int, clock: Callable[[], float] = time.perf_counter) -> None:
        self._counts = _halves(n_max)
        self._n_look_steps = n_look_steps
        self._clock = clock
        self._chosen = len(self._counts) - 1
        self._looking: int | None = None
        self._look_downward = False
        self._look_costs: list[float] = []
        self._look_seconds = 0.0
        self._average = 0.0
        self._next_look = clock()

    @property
    def n_threads(self) -> int:
        """The count for the next step."""
        return self._counts[self._chosen if self._looking is None else self._looking]

    def saw(self, n_tokens: int, seconds: float) -> None:
        """Count a step that was done with `n_threads` threads."""
        cost = seconds / n_tokens
        if self._looking is not None:
            self._look_costs.append(cost)
            self._look_seconds += seconds
            if len(self._look_costs) == self._n_look_steps or cost > SUDDEN * self._average:
                self._decide()
            return
        fewer_left = self._chosen < len(self._counts) - 1
        sudden = fewer_left and 0 < SUDDEN * self._average < cost
        self._average = cost if self._average == 0 else _blend(self._average, cost)
        if sudden or self._clock() >= self._next_look:
            self._look_downward |= sudden
            self._look()

    def _look(self) -> None:
        neighbour = self._chosen + (1 if self._look_downward else -1)
        if not 0 <= neighbour < len(self._counts):
            self._look_downward = not self._look_downward
            neighbour = self._chosen + (1 if self._look_downward else -1)
        if 0 <= neighbour < len(self._counts):
            self._looking, self._look_costs, self._look_seconds = neighbour, [], 0.0

    def _decide(self) -> None:
        cost = min(self._look_costs)
        if self._looking is not None and cost < QUICKER * self._average:
            # What helped may help more: go on in the same direction with the next step.
            self._chosen, self._average = self._looking, cost
            self._next_look = self._clock()
        else:
            self._look_downward = not self._look_downward
            self._next_look = self._clock() + max(LOOK_EVERY_S, LOOK_SHARE * self._look_seconds)
        self._looking = None


def _halves(n_max: int) -> list[int]:
    counts = [n_max]
    while counts[-1] > 1:
        counts.append(counts[-1] // 2)
    return counts


def _blend(old: float, new: float) -> float:
    return old + AVERAGE_WEIGHT * (new - old)
