"""A small blocking LSP client on the daemon's socket: what the command line speaks through.

`codex-lsp complete` prints what an editor would get because it asks the way an editor does.
"""

import json
import socket
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from codex_lsp import __version__
from codex_lsp.connect import connect_or_start
from codex_lsp.methods import COMMAND_LINE

# Loading a large model from a slow disk, then a first prompt on a slow machine.
TIMEOUT_S = 300.0


class RequestFailed(Exception):
    """The daemon answered with an error; the message is its own."""


class Client:
    """One connection, initialized. Use as a context manager."""

    def __init__(self, connection: socket.socket | None = None, *, root: Path | None = None) -> None:
        self._connection = connection or connect_or_start()
        self._connection.settimeout(TIMEOUT_S)
        self._stream = self._connection.makefile("rb")
        self._last_id = 0
        self.request(
            "initialize",
            {
                "processId": None,
                "clientInfo": {"name": COMMAND_LINE, "version": __version__},
                "rootUri": root.as_uri() if root else None,
                "capabilities": {"general": {"positionEncodings": ["utf-32"]}},
            },
        )
        self.notify("initialized", {})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()
        self._connection.close()

    def request(self, method: str, params: Any = None) -> Any:
        """Ask and wait for the answer. Raises RequestFailed, or OSError when the daemon goes away."""
        self._last_id += 1
        self._send({"id": self._last_id, "method": method, "params": params})
        while True:
            message = self._receive()
            if message.get("id") == self._last_id and "method" not in message:
                if "error" in message:
                    raise RequestFailed(message["error"]["message"])
                return message.get("result")

    def notify(self, method: str, params: Any) -> None:
        """Say something that has no answer."""
        self._send({"method": method, "params": params})

    def _send(self, message: dict[str, Any]) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        self._connection.sendall(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))

    def _receive(self) -> dict[str, Any]:
        length = 0
        while line := self._stream.readline().strip():
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        if not length:
            raise ConnectionResetError("The daemon closed the connection; `codex-lsp daemon logs` says why.")
        message = json.loads(self._stream.read(length))
        if not isinstance(message, dict):
            raise RequestFailed("The daemon sent something that is no message.")
        return message
