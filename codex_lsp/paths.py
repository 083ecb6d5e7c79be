"""Where everything lives on disk. Standard library only, and little of it: the proxy loads this on every editor start.

`CODEX_LSP_HOME` puts all of it below one folder (portable installs, tests). Without it: XDG on Linux,
`~/Library` on macOS, `%LOCALAPPDATA%` on Windows.
"""

import os
import sys
from pathlib import Path

from codex_lsp import __version__

APP = "codex-lsp"
# A unix socket's path must fit in sockaddr_un: 108 bytes on Linux, 104 on macOS, with the closing NUL.
MAX_SOCKET_PATH = 103


def config_file() -> Path:
    """The user's own settings."""
    return _base("config", "XDG_CONFIG_HOME", ".config", "Application Support") / "config.toml"


def cache_dir() -> Path:
    """What can be fetched or computed again: models and suggestions."""
    return _base("cache", "XDG_CACHE_HOME", ".cache", "Caches")


def models_dir() -> Path:
    """Downloaded GGUF files, one flat folder."""
    return cache_dir() / "models"


def state_dir() -> Path:
    """What outlives a run but is not worth a backup: the log."""
    return _base("state", "XDG_STATE_HOME", ".local/state", "Application Support")


def log_path() -> Path:
    """The daemon's log; the engine's standard error goes there too."""
    return state_dir() / "daemon.log"


def runtime_dir() -> Path:
    """What lives as long as the login: the socket and the start lock."""
    if home := os.environ.get("CODEX_LSP_HOME"):
        return Path(home) / "run"
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        return Path(runtime) / APP
    return _shared_temporary()


def socket_path() -> Path:
    """The daemon's socket. The version is part of the name, so an upgraded editor never meets an old daemon."""
    path = runtime_dir() / f"daemon-{__version__}.sock"
    if len(os.fsencode(path)) <= MAX_SOCKET_PATH:
        return path
    import hashlib  # with it the proxy needs half as much memory again, and hardly anybody's path is so long

    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    return _shared_temporary() / f"{digest}.sock"


def lock_path() -> Path:
    """Held while a daemon is being started, so that two editors opened at once start one."""
    return socket_path().with_suffix(".lock")


def private_dir(path: Path) -> Path:
    """Make `path` if it is missing and let nobody but this user in.

    Raises PermissionError when the folder belongs to another user: in a shared temporary folder that is
    somebody waiting for our socket.
    """
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    status = path.lstat()
    if hasattr(os, "getuid"):
        if status.st_uid != os.getuid() or path.is_symlink():
            raise PermissionError(f"{path} is not this user's own folder; remove it or set XDG_RUNTIME_DIR")
        if status.st_mode & 0o077:
            path.chmod(0o700)
    return path


def _base(room: str, xdg_variable: str, xdg_default: str, mac_folder: str) -> Path:
    if home := os.environ.get("CODEX_LSP_HOME"):
        return Path(home) / room
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData/Local")) / APP / room
    if sys.platform == "darwin":
        return Path.home() / "Library" / mac_folder / APP
    # The XDG specification tells programs to ignore a relative path.
    given = os.environ.get(xdg_variable, "")
    return (Path(given) if given.startswith("/") else Path.home() / xdg_default) / APP


def _shared_temporary() -> Path:
    user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
    # What tempfile.gettempdir() answers on every system with unix sockets, without the megabytes it imports.
    return Path(os.environ.get("TMPDIR", "/tmp")) / f"{APP}-{user}"  # noqa: S108 - checked by private_dir
