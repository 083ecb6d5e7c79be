"""The engine process: `python -m codex_lsp.engine.worker`, spoken to over its standard input and output.

Two threads. The reader takes messages and raises cancel flags; the main thread is the only one that calls
llama.cpp. When standard input ends the daemon is gone, and so is this process: at once, whatever it was doing.
"""

import contextlib
import os
import sys
import threading
import time
import traceback
from dataclasses import asdict
from typing import BinaryIO

from codex_lsp.engine import messages
from codex_lsp.engine.generation import Generator
from codex_lsp.engine.messages import Message
from codex_lsp.engine.model import LlamaModel
from codex_lsp.engine.request import EngineConfig, ModelUnusable, Request
from codex_lsp.engine.scheduler import Job, Scheduler

# Long enough to read the weights from disk once, to see the speed and to find the thread count; about a second.
WARM_UP = Request(prefix="".join(f"# warm {i}\n" for i in range(20)), suffix="", n_predict=8, deadline_ms=20_000)


class Worker:
    """Reads requests, runs them, writes answers."""

    def __init__(self, inbox: BinaryIO, outbox: BinaryIO) -> None:
        self._inbox = inbox
        self._outbox = outbox
        self._sending = threading.Lock()
        self._scheduler = Scheduler()
        self._percent_loaded = -1

    def run(self) -> None:
        """Load what the first message names, then serve until the pipe closes."""
        first = messages.read(self._inbox)
        if first is None:
            return
        threading.Thread(target=self._receive, name="receive", daemon=True).start()
        try:
            model = LlamaModel(EngineConfig(**first["config"]), self._on_load_progress)
        except ModelUnusable as error:
            self._send({"type": "failed", "message": str(error)})
            # Not by returning: the reader thread holds standard input, and Python aborts when it cannot close that.
            os._exit(1)
        generator = Generator(model)
        generator.complete(WARM_UP, time.perf_counter(), lambda: False, lambda _: None)
        self._send({"type": "ready", "info": asdict(model.info), "speed": asdict(generator.speed)})
        while True:
            self._serve(generator, self._scheduler.next())

    def _serve(self, generator: Generator, job: Job) -> None:
        def on_partial(text: str) -> None:
            self._send({"type": "partial", "id": job.id, "text": text})

        try:
            completion = generator.complete(job.request, job.received_at, lambda: job.cancelled, on_partial)
        except Exception as error:  # noqa: BLE001 - one odd request must not end the engine for every editor
            self._send({"type": "error", "id": job.id, "message": f"{type(error).__name__}: {error}"})
            return
        self._send({"type": "done", "id": job.id, "completion": asdict(completion), "speed": asdict(generator.speed)})

    def _receive(self) -> None:
        try:
            while (message := messages.read(self._inbox)) is not None:
                self._handle(message)
        except Exception:  # noqa: BLE001 - the process ends here, so whatever it was must be said first
            # With nobody to hear the next message, a fresh process is the way out.
            traceback.print_exc()
            os._exit(1)
        # llama.cpp may be in the middle of a long call; there is nobody left to finish it for.
        os._exit(0)

    def _handle(self, message: Message) -> None:
        match message["type"]:
            case "complete":
                request = Request(**message["request"])
                self._scheduler.submit(Job(message["id"], request, time.perf_counter()))
            case "cancel":
                self._scheduler.cancel(message["id"])

    def _on_load_progress(self, progress: float) -> None:
        percent = int(progress * 100)
        if percent != self._percent_loaded:
            self._percent_loaded = percent
            self._send({"type": "loading", "progress": progress})

    def _send(self, message: Message) -> None:
        with self._sending, contextlib.suppress(BrokenPipeError):
            self._outbox.write(messages.encode(message))
            self._outbox.flush()


def main() -> None:
    """Serve on standard input and output until the daemon closes them."""
    # llama.cpp and its backends may print; the pipe must carry our messages only.
    outbox = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    Worker(sys.stdin.buffer, outbox).run()


if __name__ == "__main__":
    main()
