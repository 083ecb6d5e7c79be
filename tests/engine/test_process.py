"""The engine's life, with real processes: loading, answering, being killed at every moment, ending."""

import asyncio
import dataclasses
import gc
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from codex_lsp.engine import messages
from codex_lsp.engine.messages import Message
from codex_lsp.engine.process import MAX_DEATHS_WHILE_LOADING, EngineProcess
from codex_lsp.engine.request import (
    Completion,
    EngineConfig,
    EngineDied,
    EngineStatus,
    FinishReason,
    ModelUnusable,
    Request,
)

SHORT = Request(prefix="def f(x):\n    return", suffix="\n", n_predict=4, deadline_ms=60_000)
# About a second of work for the tiny model: long enough to act in the middle of it.
LONG = Request(prefix="x", suffix="y", n_predict=1000, deadline_ms=60_000)


class Life:
    """An engine process and every status it reported."""

    def __init__(self, model_path: Path, log: Path) -> None:
        self.seen: list[EngineStatus] = []
        self.act: Callable[[EngineStatus], None] = lambda _: None
        self._changed = asyncio.Event()
        self._log = log.open("ab")
        self.engine = EngineProcess(EngineConfig(str(model_path), 2048, n_threads=1), self._on_status, self._log)

    def _on_status(self, status: EngineStatus) -> None:
        self.seen.append(status)
        self._changed.set()
        self.act(status)

    async def until(self, wanted: Callable[[EngineStatus], bool]) -> EngineStatus:
        async with asyncio.timeout(30):
            while not wanted(self.engine.status):
                self._changed.clear()
                await self._changed.wait()
        return self.engine.status

    async def ready(self) -> EngineStatus:
        return await self.until(lambda status: status.state == "ready")

    async def restarted(self, n_restarts: int) -> None:
        await self.until(lambda status: status.n_restarts == n_restarts)

    def signal(self, number: signal.Signals) -> None:
        assert self.engine.status.pid is not None
        os.kill(self.engine.status.pid, number)

    async def complete(self, request: Request = SHORT) -> Completion:
        async with asyncio.timeout(30):
            return await self.engine.complete(request)

    async def close(self) -> None:
        await self.engine.close()
        self._log.close()


@pytest_asyncio.fixture
async def life(tiny_gguf: Path, tmp_path: Path) -> AsyncIterator[Life]:
    """An engine on its way to be ready. Afterwards no process and no open pipe may be left."""
    engine = Life(tiny_gguf, tmp_path / "engine.log")
    engine.engine.start()
    yield engine
    await engine.close()
    assert not any("codex_lsp.engine.worker" in child.cmdline() for child in psutil.Process().children())
    del engine
    gc.collect()  # an unclosed transport warns when it is collected, and a warning is an error


async def test_it_loads_reports_how_far_it_is_and_answers_who_came_early(life: Life) -> None:
    done = await life.complete()
    assert done.text
    assert done.finish_reason == FinishReason.LENGTH
    progress = [status.progress for status in life.seen if status.state == "loading"]
    assert progress == sorted(progress)
    assert progress[-1] == 1.0
    status = life.engine.status
    assert (status.state, status.n_restarts) == ("ready", 0)
    assert status.info is not None
    assert status.info.family == "qwen2.5-coder"
    assert status.info.prefill_per_s > 0
    assert str(life.engine.config.model_path) in status.model_id


async def test_partials_arrive_while_it_writes_and_grow_into_the_text(life: Life) -> None:
    partials: list[str] = []
    done = await life.engine.complete(SHORT, partials.append)
    assert len(partials) == done.n_decoded > 1
    assert partials[-1] == done.text
    assert all(done.text.startswith(partial) for partial in partials)


async def test_requests_are_answered_in_their_order(life: Life) -> None:
    order: list[int] = []

    async def ask(number: int) -> None:
        await life.complete(dataclasses.replace(SHORT, prefix=f"x = {number}"))
        order.append(number)

    async with asyncio.TaskGroup() as group:
        for number in range(4):
            group.create_task(ask(number))
    assert order == [0, 1, 2, 3]


async def test_who_cancels_is_free_at_once_though_the_engine_is_busy(life: Life) -> None:
    await life.ready()
    life.signal(signal.SIGSTOP)
    took = []
    for _ in range(5):
        task = asyncio.create_task(life.complete(LONG))
        await asyncio.sleep(0)
        began = time.perf_counter()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        took.append(time.perf_counter() - began)
    assert min(took) < 0.05
    life.signal(signal.SIGCONT)
    assert (await life.complete()).text


async def test_a_cancelled_request_gives_its_time_to_the_next(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[FinishReason] = []
    finish = EngineProcess._finish

    def note_and_finish(engine: EngineProcess, message: Message) -> None:
        ended.append(FinishReason(message["completion"]["finish_reason"]))
        finish(engine, message)

    monkeypatch.setattr(EngineProcess, "_finish", note_and_finish)
    await life.ready()
    first_partial = asyncio.Event()
    task = asyncio.create_task(life.engine.complete(LONG, lambda _: first_partial.set()))
    await first_partial.wait()
    task.cancel()
    assert (await life.complete()).text
    assert ended == [FinishReason.CANCELLED, FinishReason.LENGTH]


async def test_killed_while_idle_it_comes_back_for_the_next_request(life: Life) -> None:
    pid = (await life.ready()).pid
    life.signal(signal.SIGKILL)
    await life.restarted(1)
    assert (await life.complete()).text
    assert life.engine.status.pid != pid


async def test_killed_during_a_request_that_one_fails_and_the_next_is_answered(life: Life) -> None:
    await life.ready()
    life.signal(signal.SIGSTOP)
    held = [asyncio.create_task(life.complete()) for _ in range(2)]
    await asyncio.sleep(0)
    life.signal(signal.SIGKILL)
    for task in held:
        with pytest.raises(EngineDied, match="next key asks again"):
            await task
    assert (await life.complete()).text
    assert life.engine.status.n_restarts == 1


async def test_a_request_in_the_moment_of_its_death_is_answered_by_the_next_process(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    reap = EngineProcess._reap
    asked: list[asyncio.Task[Completion]] = []

    async def ask_and_reap(engine: EngineProcess, process: asyncio.subprocess.Process) -> None:
        if not asked:
            asked.append(asyncio.create_task(life.complete()))
            await asyncio.sleep(0)
        await reap(engine, process)

    monkeypatch.setattr(EngineProcess, "_reap", ask_and_reap)
    await life.ready()
    life.signal(signal.SIGKILL)
    await life.restarted(1)
    assert (await asked[0]).text


async def test_killed_while_loading_it_loads_again_and_the_waiting_request_is_answered(life: Life) -> None:
    waiting = asyncio.create_task(life.complete())
    await life.until(lambda status: status.pid is not None)
    life.signal(signal.SIGKILL)
    assert (await waiting).text
    assert life.engine.status.n_restarts == 1


async def test_a_model_that_kills_it_again_and_again_while_loading_is_given_up(life: Life) -> None:
    life.act = lambda status: life.signal(signal.SIGKILL) if status.state == "loading" and status.pid else None
    with pytest.raises(ModelUnusable, match=r"died 3 times while loading .*tiny\.gguf.*`codex-lsp daemon logs`"):
        await life.complete()
    assert life.engine.status.state == "failed"
    assert life.engine.status.n_restarts == MAX_DEATHS_WHILE_LOADING - 1


async def test_deaths_long_after_loading_do_not_speak_against_the_model(life: Life) -> None:
    for n_restarts in range(1, 3):
        await life.ready()
        life.signal(signal.SIGKILL)
        await life.restarted(n_restarts)
    await life.until(lambda status: status.pid is not None)
    life.signal(signal.SIGKILL)
    assert (await life.complete()).text


@pytest.fixture
def cut_gguf(tmp_path: Path, tiny_gguf: Path) -> Path:
    path = tmp_path / "cut.gguf"
    path.write_bytes(tiny_gguf.read_bytes()[:100_000])
    return path


async def test_a_bad_file_is_not_tried_twice(tmp_path: Path, cut_gguf: Path) -> None:
    log = tmp_path / "engine.log"
    life = Life(cut_gguf, log)
    life.engine.start()
    with pytest.raises(ModelUnusable, match=r"cut\.gguf does not load: .*Remove it and pull it again"):
        await life.complete()
    process = life.engine._process
    assert process is not None
    assert await process.wait() == 1
    assert (life.engine.status.state, life.engine.status.n_restarts) == ("failed", 0)
    await life.close()
    assert log.stat().st_size == 0, "it ended without an abort of Python's or llama.cpp's"


async def test_an_engine_that_cannot_even_be_started_is_given_up_with_a_sentence(
    tiny_gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    life = Life(tiny_gguf, tmp_path / "engine.log")
    life.engine.start()
    with pytest.raises(ModelUnusable, match="`codex-lsp doctor`"):
        await life.complete()
    await life.close()


async def test_closing_ends_the_process_and_what_is_pending(life: Life) -> None:
    pid = (await life.ready()).pid
    assert pid is not None
    pending = asyncio.create_task(life.complete(LONG))
    await asyncio.sleep(0)
    await life.engine.close()
    with pytest.raises(EngineDied):
        await pending
    assert not psutil.pid_exists(pid)
    assert (life.engine.status.state, life.engine.status.pid) == ("stopped", None)
    with pytest.raises(ModelUnusable, match="not running"):
        await life.complete()


async def test_closing_before_its_death_was_noticed_is_no_error(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    read_async = messages.read_async

    async def read_but_never_see_the_end(stream: asyncio.StreamReader) -> Message | None:
        message = await read_async(stream)
        if message is None:
            await asyncio.Event().wait()
        return message

    monkeypatch.setattr(messages, "read_async", read_but_never_see_the_end)
    await life.ready()
    process = life.engine._process
    assert process is not None
    life.signal(signal.SIGKILL)
    await process.wait()
    await life.engine.close()
    assert life.engine.status.state == "stopped"


async def test_closing_while_it_starts_leaves_nothing_behind(tiny_gguf: Path, tmp_path: Path) -> None:
    for n_turns in range(4):
        life = Life(tiny_gguf, tmp_path / "engine.log")
        life.engine.start()
        for _ in range(n_turns):
            await asyncio.sleep(0)
        await life.close()
    gc.collect()
    assert not psutil.Process().children()


async def test_idle_returns_when_the_last_request_is_through(life: Life) -> None:
    await life.engine.idle()
    await life.ready()
    pending = asyncio.create_task(life.complete())
    await asyncio.sleep(0)
    await life.engine.idle()
    await asyncio.sleep(0)
    assert pending.done()
