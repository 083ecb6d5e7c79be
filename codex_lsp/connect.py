"""Reaching the daemon, and starting it when it is not there. Standard library only: every editor start runs this.

connect ── it answers ──▶ socket
   └─ nobody there: take the start lock, look again, start `codex-lsp daemon run`, wait for its socket
"""

import contextlib
import os
import socket
import sys
import time
from collections.abc import Iterator

from codex_lsp import paths

START_TIMEOUT_S = 30.0
POLL_S = 0.01


class DaemonUnreachable(Exception):
    """No daemon answers and none could be started; the message says why and what to do."""


def connect() -> socket.socket | None:
    """A connection to the running daemon, or None.

    Raises DaemonUnreachable where there are no unix sockets, and when the socket belongs to another user.
    """
    if not hasattr(socket, "AF_UNIX"):
        raise DaemonUnreachable("codex-lsp needs unix sockets, which this system lacks. On Windows, use WSL.")
    path = paths.socket_path()
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        paths.private_dir(path.parent)
        connection.connect(str(path))
    except (FileNotFoundError, ConnectionRefusedError):
        connection.close()
        return None
    except OSError as error:
        connection.close()
        raise DaemonUnreachable(f"The daemon's socket {path} cannot be used: {error}.") from error
    return connection


def connect_or_start() -> socket.socket:
    """A connection to the daemon, started first if need be. Raises DaemonUnreachable."""
    connection = connect()
    if connection is not None:
        return connection
    with _start_lock():
        # Somebody else may have started it while we waited for the lock.
        return connect() or _start()


def _start() -> socket.socket:
    import subprocess  # only the first editor of the day starts a daemon

    log = paths.private_dir(paths.state_dir()) / "start.log"
    with log.open("wb") as output:
        daemon = subprocess.Popen(
            # -P: nothing is imported from the folder this happens in, which may be a repository just cloned.
            [sys.executable, "-P", "-m", "codex_lsp", "daemon", "run"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            # An editor that is closed takes its process group along; the daemon serves others.
            start_new_session=True,
            cwd="/",
            env=_environment(),
        )
    give_up = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < give_up:
        connection = connect()
        if connection is not None:
            # It is nobody's child from here on; without this, Popen would warn about it when it is collected.
            daemon.returncode = 0
            return connection
        if daemon.poll() is not None:
            raise DaemonUnreachable(f"The daemon did not start. It said: {_last_lines(log.read_bytes())}")
        time.sleep(POLL_S)
    daemon.kill()
    raise DaemonUnreachable(f"The daemon did not answer within {START_TIMEOUT_S:.0f} s. Its log is {paths.log_path()}.")


def _environment() -> dict[str, str]:
    """The editor's environment with this package importable, wherever the daemon's working directory is."""
    package_parent = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120 - pathlib would cost the proxy its start-up time
    entries = [package_parent, *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(entries)}


@contextlib.contextmanager
def _start_lock() -> Iterator[None]:
    import fcntl

    with paths.lock_path().open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _last_lines(output: bytes) -> str:
    lines = output.decode("utf-8", "replace").strip().splitlines()
    return " / ".join(lines[-3:]) or "nothing"
