"""The daemon's side of the engine: starts the process, keeps it alive, hands requests over, brings answers back.

    stopped ── start ──▶ loading ──▶ ready ──┐
       ▲                    ▲  │             │ process ends by itself
     close                  │  └─ failed     ▼
                            └── back-off 0, 0.5, 1, 2 … 30 s

A request that the process died under raises EngineDied; requests that come while it loads wait for it.
"""

import asyncio
import contextlib
import logging
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any

from codex_lsp.engine import messages
from codex_lsp.engine.messages import Message
from codex_lsp.engine.request import (
    Completion,
    EngineConfig,
    EngineDied,
    EngineStatus,
    FinishReason,
    ModelInfo,
    ModelUnusable,
    OnPartial,
    Request,
)

log = logging.getLogger(__name__)

MAX_BACKOFF_S = 30.0
# A file that kills the process this often while loading is at fault, not bad luck.
MAX_DEATHS_WHILE_LOADING = 3

# A process whose output has ended is on its way out; after this long it is helped.
EXIT_GRACE_S = 2.0

OnStatus = Callable[[EngineStatus], None]


@dataclass(slots=True)
class _Pending:
    future: asyncio.Future[Completion]
    on_partial: OnPartial | None


class EngineProcess:
    """The engine in its own process. Use from one event loop.

    `on_status` is called on every change of state and on loading progress. `log_file` gets the process's
    standard error, where llama.cpp says its last words when it aborts.
    """

    def __init__(self, config: EngineConfig, on_status: OnStatus, log_file: IO[bytes] | int) -> None:
        self.config = config
        self._on_status = on_status
        self._log_file = log_file
        self._status = EngineStatus(model_id=model_id(config))
        self._settled = asyncio.Event()  # set while nothing is loading: ready, failed or stopped
        self._process: asyncio.subprocess.Process | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._pending: dict[int, _Pending] = {}
        self._last_id = 0
        self._deaths_in_a_row = 0
        self._deaths_while_loading = 0

    @property
    def status(self) -> EngineStatus:
        """The engine's state right now."""
        return self._status

    def start(self) -> None:
        """Begin loading; requests may come at once and wait."""
        self._change(state="loading")
        self._supervisor = asyncio.create_task(self._supervise(), name="engine-supervisor")

    async def close(self) -> None:
        """End the process and give its memory back. Pending requests end with EngineDied."""
        if self._supervisor is not None:
            self._supervisor.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._supervisor
        self._change(state="stopped", pid=None)

    async def idle(self) -> None:
        """Return when no request is pending."""
        while self._pending:
            futures = [pending.future for pending in self._pending.values()]
            await asyncio.wait(futures)

    async def complete(self, request: Request, on_partial: OnPartial | None = None) -> Completion:
        """Fill the hole. Raises ModelUnusable or EngineDied; see `request.Engine`."""
        while not self._settled.is_set():
            await self._settled.wait()
        if self._status.state != "ready" or self._process is None:
            raise ModelUnusable(self._status.message or "The engine is not running.")
        self._last_id += 1
        request_id = self._last_id
        future: asyncio.Future[Completion] = asyncio.get_running_loop().create_future()
        self._pending[request_id] = _Pending(future, on_partial)
        self._send({"type": "complete", "id": request_id, "request": asdict(request)})
        try:
            return await future
        except asyncio.CancelledError:
            self._send({"type": "cancel", "id": request_id})
            raise
        finally:
            self._pending.pop(request_id, None)

    @property
    def _failed(self) -> bool:
        return self._status.state == "failed"

    async def _supervise(self) -> None:
        """Run the process, and run it again whenever it ends by itself."""
        while not self._failed:
            await self._run_once()
            if not self._failed:
                await self._back_off()

    async def _run_once(self) -> None:
        try:
            self._process = process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                "-m",
                "codex_lsp.engine.worker",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=self._log_file,
                env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
            )
        except OSError:
            log.exception("the engine process does not start")
            return
        self._change(pid=process.pid)
        self._send({"type": "load", "config": asdict(self.config)})
        assert process.stdout is not None  # noqa: S101 - asked for above; narrows the type
        try:
            while (message := await messages.read_async(process.stdout)) is not None:
                self._handle(message)
        except asyncio.CancelledError:
            _kill(process)
            raise
        except Exception:
            # A broken stream, or a listener that failed: a fresh process is the way out of both.
            log.exception("the engine's messages could not be handled; starting it anew")
            _kill(process)
        finally:
            # From now on requests wait for the next process; this one would never answer them.
            if not self._failed:
                self._settled.clear()
            self._fail_pending(EngineDied("The engine stopped while it worked on this; the next key asks again."))
            await self._reap(process)

    async def _reap(self, process: asyncio.subprocess.Process) -> None:
        """Wait for the process to be gone. Killing one that has already ended would race with asyncio's own wait."""
        try:
            async with asyncio.timeout(EXIT_GRACE_S):
                await process.wait()
        except TimeoutError:
            _kill(process)
            await process.wait()

    async def _back_off(self) -> None:
        code = self._process.returncode if self._process else None
        was_loading = self._status.state == "loading"
        self._deaths_in_a_row += 1
        self._deaths_while_loading = self._deaths_while_loading + 1 if was_loading else 0
        log.warning("the engine ended by itself (exit code %s); starting it again", code)
        if self._deaths_while_loading == MAX_DEATHS_WHILE_LOADING:
            self._change(
                state="failed",
                pid=None,
                message=f"The engine died {MAX_DEATHS_WHILE_LOADING} times while loading {self.config.model_path} "
                f"(exit code {code}). `codex-lsp daemon logs` has its last words; `codex-lsp doctor` helps on.",
            )
            return
        self._change(state="loading", progress=0.0, pid=None, n_restarts=self._status.n_restarts + 1)
        delay = 0.0 if self._deaths_in_a_row == 1 else 0.25 * 2 ** (self._deaths_in_a_row - 1)
        await asyncio.sleep(min(MAX_BACKOFF_S, delay))

    def _handle(self, message: Message) -> None:
        match message["type"]:
            case "loading":
                self._change(progress=message["progress"])
            case "ready":
                info = message["info"]
                info["warnings"] = tuple(info["warnings"])
                self._change(state="ready", progress=1.0, info=ModelInfo(**info | message["speed"]), message="")
            case "failed":
                self._change(state="failed", message=message["message"], pid=None)
            case "partial":
                pending = self._pending.get(message["id"])
                if pending is not None and pending.on_partial is not None:
                    pending.on_partial(message["text"])
            case "done":
                self._finish(message)
            case "error":
                log.error("the engine could not serve a request: %s", message["message"])
                self._resolve(message["id"], EngineDied(message["message"]))

    def _finish(self, message: Message) -> None:
        fields = message["completion"]
        fields["finish_reason"] = FinishReason(fields["finish_reason"])
        self._deaths_in_a_row = 0
        if self._status.info is not None:
            self._status = replace(self._status, info=replace(self._status.info, **message["speed"]))
        self._resolve(message["id"], Completion(**fields))

    def _resolve(self, request_id: int, outcome: Completion | Exception) -> None:
        """The one place where answers come back; whoever cancelled is not waiting any more."""
        pending = self._pending.pop(request_id, None)
        if pending is None or pending.future.done():
            return
        if isinstance(outcome, Exception):
            pending.future.set_exception(outcome)
        else:
            pending.future.set_result(outcome)

    def _fail_pending(self, error: EngineDied) -> None:
        for request_id in list(self._pending):
            self._resolve(request_id, error)

    def _send(self, message: Message) -> None:
        # A write to a process that has just died is found out by the reader, which sees its end.
        process = self._process
        if process is not None and process.stdin is not None and not process.stdin.is_closing():
            process.stdin.write(messages.encode(message))

    def _change(self, **changes: Any) -> None:
        """Update the status, wake who waits for it, and tell the listener."""
        self._status = replace(self._status, **changes)
        if self._status.state == "loading":
            self._settled.clear()
        else:
            self._settled.set()
        self._on_status(self._status)


def _kill(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has ended by itself a moment ago
        process.kill()


def model_id(config: EngineConfig) -> str:
    """The model file with what changes its answers: another file under the same name is another model."""
    try:
        status = Path(config.model_path).stat()
    except OSError:
        return ""
    return f"{config.model_path}:{status.st_size}:{status.st_mtime_ns}:{config.fim_order}"
