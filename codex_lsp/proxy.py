"""What an editor starts: a byte pump between its pipes and the daemon's socket. Standard library only.

    editor ── stdin ──▶ this thread ──▶ socket ──▶ daemon
    editor ◀─ stdout ── other thread ◀─ socket ◀── daemon

It parses nothing, so it has nothing to keep in step and stays small: a second window costs its own few megabytes
and no model.
"""

import os
import socket
import sys
import threading

from codex_lsp.connect import DaemonUnreachable, connect_or_start

CHUNK = 1 << 16
# What the editor's last message looks like, however it writes its JSON.
EXIT_MARK = b'"exit"'
EXIT_TAIL = 256
# How long the daemon has to answer what is still on its way after the editor closed its end.
DRAIN_S = 2.0
EXIT_UNREACHABLE, EXIT_DAEMON_LOST = 69, 75


def main() -> int:
    """Pump until either side ends. Returns the exit code: 0 unless the daemon could not be had or was lost."""
    try:
        connection = connect_or_start()
    except (DaemonUnreachable, OSError) as error:
        sys.stderr.write(f"codex-lsp: {error}\n")
        return EXIT_UNREACHABLE
    return Pump(connection, sys.stdin.fileno(), sys.stdout.fileno()).run()


class Pump:
    """Two directions, two threads; the first end decides."""

    def __init__(self, connection: socket.socket, source: int, sink: int) -> None:
        self._connection = connection
        self._source = source
        self._sink = sink
        self._leaving = False
        self._downstream = threading.Thread(target=self._pump_down, daemon=True)

    def run(self) -> int:
        """Pump until both directions have ended, or the daemon went away; returns the exit code."""
        upstream = threading.Thread(target=self._pump_up, daemon=True)
        upstream.start()
        self._downstream.start()
        self._downstream.join()
        if self._leaving:
            return 0
        sys.stderr.write(
            "codex-lsp: the daemon went away. Restart the server in your editor; `codex-lsp daemon logs` says more.\n"
        )
        return EXIT_DAEMON_LOST

    def _pump_up(self) -> None:
        tail = b""
        while chunk := os.read(self._source, CHUNK):
            tail = (tail + chunk)[-EXIT_TAIL:]
            # The daemon closes the connection on `exit`; that is no loss then, and the editor wants a clean code.
            self._leaving = EXIT_MARK in tail
            try:
                self._connection.sendall(chunk)
            except OSError:
                return
        self._leaving = True
        try:
            self._connection.shutdown(socket.SHUT_WR)
        except OSError:
            return
        self._connection.settimeout(DRAIN_S)

    def _pump_down(self) -> None:
        try:
            while chunk := self._connection.recv(CHUNK):
                while chunk:
                    chunk = chunk[os.write(self._sink, chunk) :]
        except OSError:
            # The editor closed its end, or the daemon reset ours: both end the pump.
            return
