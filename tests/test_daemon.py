"""The daemon's own decisions, in this process: when it leaves, and whom it drops."""

import asyncio
import json
import logging
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from codex_lsp import daemon as daemons
from codex_lsp import paths
from codex_lsp.daemon import AlreadyRunning, Daemon


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="cx-"))  # a short path: a socket must fit in 103 bytes
    monkeypatch.setenv("CODEX_LSP_HOME", str(path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (path / "run").mkdir(mode=0o700)
    # The daemon sets the level of the process it has for itself.
    monkeypatch.setattr(logging.getLogger(), "level", logging.getLogger().level)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def daemon(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    monkeypatch.setattr(daemons, "LOOK_AFTER_S", 0.005)
    with (home / "engine.log").open("wb") as engine_log:
        yield Daemon(engine_log)


async def serve(daemon: Daemon) -> None:
    with daemons._listener(paths.socket_path()) as listener:
        await daemon.serve(listener)


async def connected(daemon: Daemon) -> asyncio.StreamWriter:
    async with asyncio.timeout(5):
        while not paths.socket_path().exists():  # noqa: ASYNC110 - a socket that appears tells nobody
            await asyncio.sleep(0.005)
        _, writer = await asyncio.open_unix_connection(paths.socket_path())
        while not daemon._sessions:  # noqa: ASYNC110 - nothing tells a test of a new session
            await asyncio.sleep(0.005)
    return writer


def be_idle(daemon: Daemon, minutes: float) -> None:
    daemon._last_seen -= minutes * 60


class TestIdle:
    async def test_it_leaves_after_the_minutes_that_are_set(self, daemon: Daemon) -> None:
        be_idle(daemon, 30.1)
        async with asyncio.timeout(5):
            await serve(daemon)
        assert not paths.socket_path().exists()

    @pytest.mark.parametrize("setting", ["", "idle_exit_minutes = 0", "idle_exit_minutes = 60"])
    async def test_it_stays_as_long_as_it_should(self, daemon: Daemon, home: Path, setting: str) -> None:
        (home / "config").mkdir()
        (home / "config/config.toml").write_text(setting)
        daemon._config._checked.clear()
        be_idle(daemon, 29.9 if setting == "" else 45)
        serving = asyncio.create_task(serve(daemon))
        _, pending = await asyncio.wait([serving], timeout=0.1)
        assert pending
        daemon.stop()
        await serving

    async def test_it_stays_while_an_editor_is_connected(self, daemon: Daemon) -> None:
        serving = asyncio.create_task(serve(daemon))
        writer = await connected(daemon)
        be_idle(daemon, 500)
        _, pending = await asyncio.wait([serving], timeout=0.1)
        assert pending
        writer.close()
        while daemon._sessions:  # noqa: ASYNC110 - nothing tells a test that a session has gone
            await asyncio.sleep(0.005)
        _, pending = await asyncio.wait([serving], timeout=0.1)
        assert pending, "the minutes count from the last editor's end"
        be_idle(daemon, 31)
        async with asyncio.timeout(5):
            await serving


async def test_a_stop_ends_the_connections(daemon: Daemon) -> None:
    serving = asyncio.create_task(serve(daemon))
    writer = await connected(daemon)
    daemon.stop()
    async with asyncio.timeout(5):
        await serving
    assert daemon._sessions == {}
    writer.close()


async def test_an_editor_that_stops_reading_is_dropped(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemons, "MAX_UNREAD_BYTES", 100_000)
    serving = asyncio.create_task(serve(daemon))
    writer = await connected(daemon)
    asked = {"jsonrpc": "2.0", "id": 1, "method": "codexLsp/status", "params": {}}
    body = json.dumps(asked).encode()
    # Answers pile up in the kernel's buffers first, and then in ours.
    writer.write((b"Content-Length: %d\r\n\r\n%s" % (len(body), body)) * 3000)
    async with asyncio.timeout(20):
        while daemon._sessions:  # noqa: ASYNC110 - nothing tells a test that a session has gone
            await asyncio.sleep(0.005)
    writer.transport.abort()
    daemon.stop()
    await serving


def test_there_is_one_daemon(home: Path) -> None:
    with daemons._only_one(), pytest.raises(AlreadyRunning), daemons._only_one():
        pytest.fail("two daemons at once")


def test_a_stale_socket_is_replaced(home: Path) -> None:
    path = paths.socket_path()
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(path))
    with daemons._listener(path), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    assert not path.exists()


def test_the_socket_is_the_users_alone(home: Path) -> None:
    umask = os.umask(0)
    try:
        with daemons._listener(paths.socket_path()):
            assert paths.socket_path().stat().st_mode & 0o777 == 0o600
    finally:
        os.umask(umask)
