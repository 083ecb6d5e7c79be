"""Drives a real Neovim over its RPC: types keys, reads the ghost text that it draws."""

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgpack

T = TypeVar("T")

# The first answer waits for the daemon, for the model's load and for a whole prompt on a slow machine.
PATIENCE = 120.0

# Remembers for which text and cursor the built-in client asked last, and which request was answered. Its own
# handler runs between the event and the scheduled function, so the ghost is drawn when `answered` is set.
WATCH_REQUESTS = """
_G.asked, _G.answered = nil, 0
local function place()
  local cursor = vim.api.nvim_win_get_cursor(0)
  return { vim.b.changedtick, cursor[1], cursor[2] }
end
vim.api.nvim_create_autocmd('LspRequest', {
  callback = function(event)
    local id, request = event.data.request_id, event.data.request
    if request.method ~= 'textDocument/inlineCompletion' then
      return
    elseif request.type == 'pending' then
      _G.asked = { id = id, place = place() }
    elseif request.type == 'complete' then
      vim.schedule(function() _G.answered = math.max(_G.answered, id) end)
    end
  end,
})
function _G.is_settled()
  return _G.asked ~= nil and _G.answered == _G.asked.id and vim.deep_equal(_G.asked.place, place())
end
"""

# The built-in client begins to watch a buffer a moment after it has attached: keys before that go unseen.
WATCHES_BUFFER = """
local group = ('nvim.lsp.inline_completion:%d'):format(vim.api.nvim_get_current_buf())
return #vim.lsp.get_clients({ bufnr = 0, name = 'codex_lsp' }) == 1 and vim.fn.exists('#' .. group) == 1
"""

GHOST_MARKS = """
local namespace = vim.api.nvim_get_namespaces()['nvim.lsp.inline_completion']
return vim.api.nvim_buf_get_extmarks(0, namespace, 0, -1, { details = true })
"""


@dataclass(frozen=True)
class Ghost:
    """Ghost text as it is drawn: where it starts (0-based row, byte column) and what it says."""

    row: int
    column: int
    text: str


def wait_for(what: str, look: Callable[[], T | None], patience: float = PATIENCE) -> T:
    """The first truthy value of `look`; AssertionError when there is none within `patience` seconds."""
    end = time.monotonic() + patience
    while True:
        if found := look():
            return found
        assert time.monotonic() < end, f"no {what} within {patience:.0f} s"
        time.sleep(0.03)


def neovim_command(program: Path, init: Path, address: Path) -> list[str]:
    """How to start Neovim with `init` alone, leaving no trace, so that `Neovim(address)` can drive it."""
    return [str(program), "--listen", str(address), "-n", "-i", "NONE", "-u", str(init)]


class Neovim:
    """A running Neovim, spoken to through the socket that it listens on."""

    def __init__(self, address: Path) -> None:
        self._rpc = wait_for("Neovim at its socket", lambda: _connect(address), 20)
        self._incoming = msgpack.Unpacker()
        # It listens before it has read its settings.
        wait_for("started Neovim", lambda: self.lua("return vim.v.vim_did_enter == 1"), 20)
        self.lua(WATCH_REQUESTS)

    def lua(self, code: str, *arguments: object) -> Any:
        """What `code` returns inside Neovim."""
        return self._call("nvim_exec_lua", code, arguments)

    def open(self, file: Path, text: str) -> None:
        """Write `text` to `file`, edit it, and wait until the language server is attached."""
        file.write_text(text, encoding="utf-8")
        self.lua("vim.cmd.edit(vim.fn.fnamemodify(..., ':.'))", str(file))
        wait_for("attached language server", lambda: self.lua(WATCHES_BUFFER))

    def type(self, text: str) -> None:
        """Type `text` key by key."""
        for character in text:
            self._call("nvim_input", "<lt>" if character == "<" else character)

    def press(self, *keys: str) -> None:
        """Press keys by their Neovim names, like `<Tab>`."""
        for key in keys:
            self._call("nvim_input", key)

    def lines(self) -> list[str]:
        """The buffer."""
        return list(self.lua("return vim.api.nvim_buf_get_lines(0, 0, -1, true)"))

    def cursor(self) -> tuple[int, int]:
        """0-based row and byte column."""
        row, column = self.lua("return vim.api.nvim_win_get_cursor(0)")
        return row - 1, column

    def ghost(self) -> Ghost | None:
        """The ghost text on screen now."""
        marks = self.lua(GHOST_MARKS)
        if not marks:
            return None
        _, row, column, details = marks[0]
        drawn = [details["virt_text"], *details.get("virt_lines", [])]
        return Ghost(row, column, "\n".join("".join(chunk for chunk, _ in line) for line in drawn))

    def settle(self) -> None:
        """Wait until the server has answered for the text and cursor as they are now."""
        wait_for("answer for the text as it stands", lambda: self.lua("return _G.is_settled()"))

    def settled_ghost(self) -> Ghost:
        """The ghost text that answers the text as it stands; no answer on its way can replace it."""
        self.settle()
        ghost = self.ghost()
        assert ghost, f"the server had nothing to say at {self.cursor()} of {self.lines()}"
        return ghost

    def quit(self) -> None:
        """`:qa!`, and wait until the process has closed its end."""
        self.lua("vim.schedule(function() vim.cmd('qa!') end)")
        while self._rpc.recv(1 << 16):
            pass

    def close(self) -> None:
        """Stop driving it; it runs on."""
        self._rpc.close()

    def _call(self, method: str, *arguments: object) -> Any:
        """What one RPC call returns."""
        # pynvim would do the same, but leaves its sockets open, which the tests' settings make an error.
        self._rpc.sendall(msgpack.packb([0, 0, method, arguments]))
        while True:
            for _, _, error, result in self._incoming:
                assert error is None, f"{method}: {error}"
                return result
            received = self._rpc.recv(1 << 16)
            assert received, "Neovim has gone"
            self._incoming.feed(received)


def _connect(address: Path) -> socket.socket | None:
    """A connection to `address`, or None as long as nobody listens there."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(20)
    try:
        connection.connect(str(address))
    except (FileNotFoundError, ConnectionRefusedError):
        connection.close()
        return None
    return connection
