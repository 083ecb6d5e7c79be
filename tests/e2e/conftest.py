"""Real processes: the proxy that an editor starts, the daemon, the engine with the tiny model.

Each `home` is a user of their own: nothing here meets a daemon that is running on this machine.
"""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.lsp.editor import Editor

COMMAND = [sys.executable, "-m", "codex_lsp"]


class Home:
    """A user's folders below one of our own, and what this user runs."""

    def __init__(self, path: Path, model: Path | None) -> None:
        self.path = path
        self.env = {
            **os.environ,
            "CODEX_LSP_HOME": str(path),
            "HF_HUB_OFFLINE": "1",
            "PYTHONPATH": str(Path(__file__).parents[2]),
        }
        (path / "config").mkdir()
        if model:
            self.use(model)

    def run(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run `codex-lsp` with arguments."""
        return subprocess.run(
            [*COMMAND, *arguments],
            env=self.env,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd=self.path,
        )

    def use(self, model: Path) -> None:
        """Set the model in the user's own settings."""
        settings = f"model = '{model}'\ndeadline_ms = 30000\n"
        (self.path / "config/config.toml").write_text(settings)

    def status(self) -> dict[str, Any]:
        """What `codex-lsp daemon status --json` says."""
        status: dict[str, Any] = json.loads(self.run("daemon", "status", "--json").stdout)
        return status

    def log(self) -> str:
        """The daemon's log so far."""
        return (self.path / "state/daemon.log").read_text("utf-8")

    def end(self) -> None:
        """Leave nothing running, however the test went."""
        for process in psutil.process_iter(["cmdline"]):
            with contextlib.suppress(psutil.Error):
                ours = "python" in " ".join(process.info["cmdline"] or [])
                if ours and process.environ().get("CODEX_LSP_HOME") == str(self.path):
                    kill(process.pid)


class Proxy(Editor):
    """An editor on the other end of a real `codex-lsp`."""

    timeout_s = 60.0  # a cold start on a busy machine

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        assert process.stdin is not None
        super().__init__(process.stdout, process.stdin)
        self.process = process

    async def ended(self) -> tuple[int, str]:
        """The exit code and what was said on standard error, once the proxy has ended."""
        assert self.process.stderr is not None
        async with asyncio.timeout(self.timeout_s):
            said = await self.process.stderr.read()
            return await self.process.wait(), said.decode()

    async def disconnect(self) -> None:
        """Close the proxy's standard input, as an editor that goes away does."""
        await super().disconnect()
        await self.ended()


@pytest.fixture(scope="session")
def _homes() -> Iterator[Callable[[Path | None], Home]]:
    homes: list[Home] = []
    with tempfile.TemporaryDirectory(prefix="cx-") as folder:  # a short path: a socket must fit in 103 bytes

        def make(model: Path | None) -> Home:
            path = Path(folder) / str(len(homes))
            path.mkdir()
            homes.append(Home(path, model))
            return homes[-1]

        yield make
        for home in homes:
            home.end()


@pytest.fixture(scope="session")
def shared_home(_homes: Callable[[Path | None], Home], tiny_gguf: Path) -> Home:
    """A user whose daemon stays up between tests; who kills it lets the next one start it."""
    return _homes(tiny_gguf)


@pytest.fixture
def cold_home(_homes: Callable[[Path | None], Home], tiny_gguf: Path) -> Iterator[Home]:
    """A user who has never started anything."""
    home = _homes(tiny_gguf)
    yield home
    home.end()


@pytest.fixture
def home_without_model(_homes: Callable[[Path | None], Home]) -> Iterator[Home]:
    """A user who has no model yet, on a machine without a network."""
    home = _homes(None)
    yield home
    home.end()


Start = Callable[..., Awaitable[Proxy]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Starts proxies for a home, initialized unless told otherwise, and ends them."""
    proxies: list[Proxy] = []

    async def start_one(home: Home, name: str = "test", initialize: bool = True, **params: Any) -> Proxy:
        process = await asyncio.create_subprocess_exec(
            *COMMAND,
            env=home.env,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        proxies.append(Proxy(process))
        if initialize:
            await proxies[-1].initialize(name, None, **params)
        return proxies[-1]

    yield start_one
    for proxy in proxies:
        await proxy.disconnect()


def kill(pid: int) -> None:
    """`kill -9`, and wait until it is gone."""
    os.kill(pid, signal.SIGKILL)
    wait_for_end(pid)


def wait_for_end(pid: int) -> None:
    """Return once a process has ended, whether or not anybody has asked for its exit code."""
    give_up = time.monotonic() + 10
    with contextlib.suppress(psutil.NoSuchProcess):
        while psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < give_up
            time.sleep(0.005)
