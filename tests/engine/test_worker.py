"""The engine process, spoken to over its pipes as the daemon does it."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO, cast

import pytest

from codex_lsp.engine import messages
from codex_lsp.engine.messages import Message
from codex_lsp.engine.request import EngineConfig, Request

LONG = asdict(Request(prefix="x", suffix="y", n_predict=1000, deadline_ms=60_000))


class Pipe:
    """The daemon's end."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.stdin = cast("BinaryIO", process.stdin)
        self.stdout = cast("BinaryIO", process.stdout)

    def send(self, *sent: Message) -> None:
        self.stdin.write(b"".join(map(messages.encode, sent)))
        self.stdin.flush()

    def until(self, kind: str) -> Message:
        """The next message of this kind."""
        while (message := messages.read(self.stdout)) is not None:
            if message["type"] == kind:
                return message
        raise EOFError(kind)


@pytest.fixture
def worker(tiny_gguf: Path) -> Iterator[Pipe]:
    """A worker with the tiny model loaded."""
    process = subprocess.Popen(
        [sys.executable, "-m", "codex_lsp.engine.worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with process:
        pipe = Pipe(process)
        pipe.send({"type": "load", "config": asdict(EngineConfig(str(tiny_gguf), 2048, n_threads=1))})
        pipe.until("ready")
        yield pipe
        process.kill()


def test_when_the_daemon_goes_it_goes_at_once_in_the_middle_of_a_text(worker: Pipe) -> None:
    worker.send({"type": "complete", "id": 1, "request": LONG})
    worker.until("partial")
    worker.stdin.close()
    assert worker.process.wait(timeout=5) == 0
    assert b'"done"' not in worker.stdout.read()


def test_a_cancel_ends_the_text_that_is_being_written(worker: Pipe) -> None:
    worker.send({"type": "complete", "id": 1, "request": LONG})
    worker.until("partial")
    worker.send({"type": "cancel", "id": 1})
    done = worker.until("done")
    assert done["completion"]["finish_reason"] == "cancelled"
    assert done["completion"]["n_decoded"] < LONG["n_predict"]


def test_what_was_cancelled_before_its_turn_is_never_begun(worker: Pipe) -> None:
    worker.send({"type": "complete", "id": 1, "request": LONG})
    worker.until("partial")
    worker.send(
        {"type": "complete", "id": 2, "request": LONG},
        {"type": "complete", "id": 3, "request": LONG | {"n_predict": 1}},
        {"type": "cancel", "id": 2},
        {"type": "cancel", "id": 1},
    )
    assert [worker.until("done")["id"] for _ in range(2)] == [1, 3]
