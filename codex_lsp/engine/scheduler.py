"""What runs next: the oldest request that somebody still waits for.

Requests arrive on the worker's reader thread and are taken by its engine thread. One runs at a time: two decoded
side by side take hardly less time than one after the other on a CPU, and the first answer would come later.
"""

import threading
from collections import OrderedDict
from dataclasses import dataclass

from codex_lsp.engine.request import Request


@dataclass(slots=True)
class Job:
    """A request on its way. `cancelled` is written by the reader thread and read between engine steps."""

    id: int
    request: Request
    received_at: float
    cancelled: bool = False


class Scheduler:
    """A queue that forgets what was cancelled before it ran."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._jobs: OrderedDict[int, Job] = OrderedDict()
        self._running: Job | None = None

    def submit(self, job: Job) -> None:
        """Queue a job."""
        with self._changed:
            self._jobs[job.id] = job
            self._changed.notify()

    def cancel(self, job_id: int) -> None:
        """Forget a waiting job, or tell the running one; any other is over already."""
        with self._changed:
            if self._running is not None and self._running.id == job_id:
                self._running.cancelled = True
            self._jobs.pop(job_id, None)

    def next(self) -> Job:
        """The oldest waiting job; blocks until there is one."""
        with self._changed:
            self._running = None
            self._changed.wait_for(lambda: self._jobs)
            _, self._running = self._jobs.popitem(last=False)
            return self._running
