"""Which job runs next, across two threads."""

import threading

from codex_lsp.engine.request import Request
from codex_lsp.engine.scheduler import Job, Scheduler


def job(number: int) -> Job:
    return Job(number, Request("x", "", n_predict=1, deadline_ms=1), received_at=0.0)


def test_jobs_come_in_the_order_they_were_submitted() -> None:
    scheduler = Scheduler()
    for number in (3, 1, 2):
        scheduler.submit(job(number))
    assert [scheduler.next().id for _ in range(3)] == [3, 1, 2]


def test_what_is_cancelled_in_the_queue_never_runs() -> None:
    scheduler = Scheduler()
    second = job(2)
    scheduler.submit(job(1))
    scheduler.submit(second)
    scheduler.cancel(1)
    assert scheduler.next() is second
    assert not second.cancelled


def test_the_running_job_is_told_that_it_is_cancelled() -> None:
    scheduler = Scheduler()
    scheduler.submit(job(1))
    running = scheduler.next()
    scheduler.cancel(1)
    assert running.cancelled


def test_a_cancel_that_comes_too_late_touches_nothing() -> None:
    scheduler = Scheduler()
    scheduler.submit(job(1))
    scheduler.next()
    scheduler.submit(job(2))
    running = scheduler.next()
    scheduler.cancel(1)
    scheduler.cancel(99)
    assert not running.cancelled


def test_next_waits_for_a_job_from_another_thread() -> None:
    scheduler = Scheduler()
    taken: list[int] = []
    taker = threading.Thread(target=lambda: taken.append(scheduler.next().id))
    taker.start()
    scheduler.submit(job(7))
    taker.join(timeout=10)
    assert taken == [7]
