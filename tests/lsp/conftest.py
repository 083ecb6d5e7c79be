"""The language server in memory: a Session behind a socket pair, an engine that says what it is told.

editor = await connect()          an initialized client, speaking raw JSON-RPC
await editor.open("x = █")        a document with the cursor at `█`
await editor.complete()           what inline completion answers there
"""

import asyncio
import itertools
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from cattrs import Converter
from pygls.protocol import default_converter

from codex_lsp.cache import CompletionCache
from codex_lsp.completer import Completer
from codex_lsp.config import ConfigFiles
from codex_lsp.daemon import talk
from codex_lsp.engine.request import EngineStatus
from codex_lsp.server import Services, Session
from tests.fakes_engine import FakeEngine
from tests.lsp.editor import Editor


class FakeControl:
    """`server.Control` around a fake engine."""

    def __init__(self, engine: FakeEngine) -> None:
        self.engine = engine
        self.listeners: list[Callable[[EngineStatus], None]] = []
        self.n_accepted = self.n_woken = self.n_stopped = 0

    def change(self, status: EngineStatus) -> None:
        """Give the engine another status and tell who listens."""
        self.engine.status = status
        for listener in list(self.listeners):
            listener(status)

    def status(self) -> dict[str, Any]:
        return {"state": self.engine.status.state}

    def stop(self) -> None:
        self.n_stopped += 1

    async def measure(self) -> dict[str, Any]:
        return {"prefill_per_s": 1.0}

    def wake(self) -> None:
        self.n_woken += 1

    def listen(self, listener: Callable[[EngineStatus], None]) -> Callable[[], None]:
        self.listeners.append(listener)
        listener(self.engine.status)
        return lambda: self.listeners.remove(listener)

    def accepted(self) -> None:
        self.n_accepted += 1


@pytest.fixture(scope="session")
def converter() -> Converter:
    made: Converter = default_converter()  # type: ignore[no-untyped-call] # pygls leaves this one without types
    return made


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def control(engine: FakeEngine) -> FakeControl:
    return FakeControl(engine)


@pytest.fixture
def user_file(tmp_path: Path) -> Path:
    """The user's own settings; a test writes them before it connects."""
    return tmp_path / "user" / "config.toml"


Connect = Callable[..., Awaitable[Editor]]


@pytest.fixture
async def connect(
    engine: FakeEngine, control: FakeControl, converter: Converter, user_file: Path
) -> AsyncIterator[Connect]:
    """Connects editors to one daemon's services. Afterwards nothing may be left running."""
    cache = CompletionCache(None)
    clock = itertools.count()  # a second passes between any two looks at the settings files
    config = ConfigFiles(user_file, lambda: float(next(clock)))
    services = Services(Completer(engine, cache), config, control, converter)
    editors: list[Editor] = []
    served: list[asyncio.Task[None]] = []

    async def connect_one(
        name: str = "test", root: Path | None = None, answers: dict[str, Any] | None = None, **params: Any
    ) -> Editor:
        ours, theirs = socket.socketpair()
        session = Session(services)
        served.append(asyncio.create_task(talk(session, *await asyncio.open_connection(sock=ours))))
        editor = Editor(*await asyncio.open_connection(sock=theirs))
        editor.answers |= answers or {}
        editors.append(editor)
        await editor.initialize(name, root, **params)
        return editor

    yield connect_one
    for editor in editors:
        await editor.disconnect()
    await asyncio.gather(*served)
    cache.close()
    assert control.listeners == []
    if left := asyncio.all_tasks() - {asyncio.current_task()}:
        _, running = await asyncio.wait(left, timeout=0.5)  # what was cancelled needs a moment to end
        assert running == set()
