"""The daemon: one process for every editor window, with one engine and one cache.

It listens on a unix socket, makes a Session per connection, and leaves when nobody has been connected for a while.
"""

import asyncio
import contextlib
import fcntl
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import IO, Any, cast

import psutil
from cattrs import Converter
from pygls.io_ import run_async
from pygls.protocol import default_converter

from codex_lsp import __version__, paths
from codex_lsp.cache import CompletionCache
from codex_lsp.completer import Completer
from codex_lsp.config import ConfigFiles
from codex_lsp.engine.request import EngineStatus, Request
from codex_lsp.host import EngineHost
from codex_lsp.server import Services, Session

log = logging.getLogger(__name__)

LOG_BYTES, LOG_FILES = 1_000_000, 3
# An editor that has not read this much of our answers has stopped reading; waiting for it would fill our memory.
MAX_UNREAD_BYTES = 32 * 1024 * 1024
LOOK_AFTER_S = 5.0
MEASURE_LINES, MEASURE_TOKENS = 64, 24


class AlreadyRunning(Exception):
    """Another daemon of this version serves this user."""


class Daemon:
    """Everything that lives as long as the daemon does. Use inside one event loop."""

    def __init__(self, engine_log: IO[bytes]) -> None:
        self._config = ConfigFiles(paths.config_file())
        settings = self._config.settings_for(None)
        logging.getLogger().setLevel(settings.log_level.upper())
        self._host = EngineHost(lambda: self._config.settings_for(None), engine_log)
        self._cache = CompletionCache(paths.cache_dir() / "completions", settings.cache_mb, settings.cache_days)
        self._completer = Completer(self._host, self._cache)
        self._services = Services(self._completer, self._config, self, _converter())
        self._sessions: dict[Session, asyncio.Task[None]] = {}
        self._stopping = asyncio.Event()
        self._started = time.time()
        self._last_seen = time.monotonic()
        self._n_accepted = 0

    async def serve(self, listener: socket.socket) -> None:
        """Serve connections on `listener` until told to stop or idle for long enough."""
        server = await asyncio.start_unix_server(self._connected, sock=listener, limit=1 << 20)
        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, self._stopping.set)
        log.info("codex-lsp %s serves on %s", __version__, listener.getsockname())
        caretaker = asyncio.create_task(self._look_after())
        await self._stopping.wait()
        caretaker.cancel()
        server.close()
        for task in self._sessions.values():
            task.cancel()
        await asyncio.gather(*self._sessions.values(), return_exceptions=True)
        await self._host.close()
        self._cache.close()
        log.info("stopped")

    # What sessions may ask (server.Control)

    def status(self) -> dict[str, Any]:
        """The daemon's state, for `codex-lsp daemon status --json`."""
        engine = self._host.status
        return {
            "version": __version__,
            "pid": os.getpid(),
            "socket": str(paths.socket_path()),
            "uptime_s": round(time.time() - self._started, 1),
            "memory_bytes": psutil.Process().memory_info().rss,
            "connections": [session.client.name for session in self._sessions],
            "documents": sum(len(session.documents) for session in self._sessions),
            "requests": self._completer.counts,
            "accepted": self._n_accepted,
            "engine": {
                "state": engine.state,
                "message": engine.message,
                "pid": engine.pid,
                "restarts": engine.n_restarts,
                "memory_bytes": _memory_of(engine.pid),
                "model": None if engine.info is None else _as_dict(engine.info),
            },
        }

    def stop(self) -> None:
        """End the daemon, after the answer that is being written."""
        asyncio.get_running_loop().call_later(0.05, self._stopping.set)

    async def measure(self) -> dict[str, Any]:
        """Prefill and decode speed in tokens per second, measured with text nobody has sent before."""
        lines = (
            f"value_{i} = compute({time.time_ns() % 9973 + i}, key={i * 7919 % 104729})\n" for i in range(MEASURE_LINES)
        )
        request = Request("".join(lines), "", n_predict=MEASURE_TOKENS, deadline_ms=120_000)
        done = await self._host.complete(request)
        decode_ms = done.total_ms - (done.first_token_ms or 0.0)
        return {
            "prefilled": done.n_prefilled,
            "prefill_per_s": _rate(done.n_prefilled, done.prefill_ms),
            "decoded": done.n_decoded,
            "decode_per_s": _rate(done.n_decoded - 1, decode_ms),
        }

    def wake(self) -> None:
        """Begin loading the model."""
        self._host.wake()

    def listen(self, listener: Callable[[EngineStatus], None]) -> Callable[[], None]:
        """Follow the engine's state; the listener hears the present one at once."""
        stop = self._host.listen(listener)
        listener(self._host.status)
        return stop

    def accepted(self) -> None:
        """Count an accepted suggestion."""
        self._n_accepted += 1

    # Connections

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = Session(self._services)
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a connection is served by a task")
        self._sessions[session] = task
        try:
            await talk(session, reader, writer)
        finally:
            del self._sessions[session]
            self._last_seen = time.monotonic()

    async def _look_after(self) -> None:
        """Now and then: follow the log level, and leave when nobody has been connected for long enough."""
        while True:
            await asyncio.sleep(LOOK_AFTER_S)
            settings = self._config.settings_for(None)
            logging.getLogger().setLevel(settings.log_level.upper())
            idle_minutes = (time.monotonic() - self._last_seen) / 60
            if not self._sessions and 0 < settings.idle_exit_minutes < idle_minutes:
                log.info("nobody has been connected for %d minutes; leaving", settings.idle_exit_minutes)
                self._stopping.set()


class _Writer:
    """A connection as pygls writes to it: never blocks, and drops an editor that stopped reading."""

    def __init__(self, stream: asyncio.StreamWriter) -> None:
        self._stream = stream

    def write(self, data: bytes) -> None:
        if self._stream.is_closing():
            return
        self._stream.write(data)
        if self._stream.transport.get_write_buffer_size() > MAX_UNREAD_BYTES:
            log.warning("an editor stopped reading; dropping it")
            self._stream.transport.abort()

    def close(self) -> None:
        self._stream.close()


async def talk(session: Session, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Serve one connection until it ends; what was asked on it ends with it."""
    session.protocol.set_writer(_Writer(writer))
    try:
        await run_async(
            # pygls wants a thread's event to look at between messages; ours is never set, the reader ends.
            stop_event=threading.Event(),
            reader=reader,
            protocol=session.protocol,
            logger=logging.getLogger("pygls"),
            error_handler=session.report_server_error,
        )
    except (ConnectionError, asyncio.IncompleteReadError, ValueError) as error:
        log.warning("a connection broke: %s", error)
    finally:
        session.close()
        writer.close()


def run() -> int:
    """Run the daemon in this process until it stops; returns the exit code."""
    _log_to_file()
    state = paths.private_dir(paths.state_dir())
    try:
        with _only_one(), (state / "engine.log").open("wb") as engine_log:
            asyncio.run(_serve(engine_log))
    except AlreadyRunning:
        log.info("another daemon is running already")
    except Exception:
        log.exception("the daemon ended")
        raise
    return 0


async def _serve(engine_log: IO[bytes]) -> None:
    with _listener(paths.socket_path()) as listener:
        await Daemon(engine_log).serve(listener)


@contextlib.contextmanager
def _only_one() -> Iterator[None]:
    """Hold the lock that says a daemon lives here; it goes with the process, however that ends."""
    path = paths.socket_path()
    paths.private_dir(path.parent)
    with path.with_suffix(".running").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise AlreadyRunning from error
        yield


@contextlib.contextmanager
def _listener(path: Path) -> Iterator[socket.socket]:
    # We hold the lock, so whatever lies here was left by a daemon that did not end well.
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with listener:
        old_umask = os.umask(0o177)
        try:
            listener.bind(str(path))
        finally:
            os.umask(old_umask)
        listener.listen(64)
        try:
            yield listener
        finally:
            path.unlink(missing_ok=True)


def _log_to_file() -> None:
    path = paths.log_path()
    paths.private_dir(path.parent)
    handler = RotatingFileHandler(path, maxBytes=LOG_BYTES, backupCount=LOG_FILES - 1, encoding="utf-8")
    logging.basicConfig(
        handlers=[handler], level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    # At INFO pygls logs every message it sends, and with it the user's source.
    logging.getLogger("pygls").setLevel(logging.ERROR)


def _converter() -> Converter:
    converter = default_converter()  # type: ignore[no-untyped-call] # pygls leaves this one without types
    return cast("Converter", converter)


def _memory_of(pid: int | None) -> int | None:
    try:
        return None if pid is None else int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return None


def _as_dict(info: Any) -> dict[str, Any]:
    return {name: getattr(info, name) for name in info.__dataclass_fields__}


def _rate(n: int, milliseconds: float) -> float:
    return round(n / milliseconds * 1000, 1) if milliseconds > 0 else 0.0
