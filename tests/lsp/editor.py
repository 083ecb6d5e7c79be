"""The editor's side of a connection: raw JSON-RPC, so that odd clients can be played."""

import asyncio
import contextlib
import itertools
import json
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import pytest

from codex_lsp.document import PositionEncoding

CANCELLED, INVALID_PARAMS, INVALID_REQUEST = -32800, -32602, -32600
INVOKED, AUTOMATIC = 1, 2
URI = "file:///project/a.py"
NEVER = object()


class RpcError(Exception):
    """An answer that is an error."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(error["message"])
        self.code = error["code"]


class Editor:
    """The other end of a Session.

    Requests of the server are answered from `answers`, with null unless there is something there: an exception
    becomes an error, NEVER no answer at all.
    """

    timeout_s = 5.0

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._heard = asyncio.Event()
        self._listening = asyncio.create_task(self._listen())
        self.messages: list[dict[str, Any]] = []
        self.answers: dict[str, Any] = {}
        self.capabilities: dict[str, Any] = {}
        self.encoding: PositionEncoding = "utf-16"
        self.cursor = {"line": 0, "character": 0}
        self.version = 1

    def send(self, message: dict[str, Any]) -> None:
        self.send_bytes(json.dumps({"jsonrpc": "2.0", **message}).encode())

    def send_bytes(self, body: bytes) -> None:
        self._writer.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))

    def request(self, method: str, params: Any = None) -> tuple[int, asyncio.Future[Any]]:
        """Send a request; its id, and the future of its answer."""
        request_id = next(self._ids)
        self._waiting[request_id] = future = asyncio.get_running_loop().create_future()
        self.send({"id": request_id, "method": method, "params": params})
        return request_id, future

    async def call(self, method: str, params: Any = None) -> Any:
        """Ask and wait for the answer. Raises RpcError."""
        async with asyncio.timeout(self.timeout_s):
            return await self.request(method, params)[1]

    def notify(self, method: str, params: Any = None) -> None:
        self.send({"method": method, "params": params})

    async def settled(self) -> None:
        """Return when the server has handled all that was sent so far."""
        await self.call("codexLsp/status", {})

    async def heard(self, method: str, n: int = 1) -> list[Any]:
        """The parameters of the server's messages of one method, once there are `n` of them."""
        async with asyncio.timeout(self.timeout_s):
            while len(found := self.said(method)) < n:
                self._heard.clear()
                await self._heard.wait()
        return found

    def said(self, method: str) -> list[Any]:
        """The parameters of the server's messages of one method so far."""
        return [message["params"] for message in self.messages if message["method"] == method]

    async def initialize(self, name: str, root: Path | None, **params: Any) -> None:
        answer = await self.call(
            "initialize",
            {
                "processId": None,
                "clientInfo": {"name": name},
                "rootUri": root.as_uri() if root else None,
                "capabilities": {},
                **params,
            },
        )
        self.capabilities = answer["capabilities"]
        self.encoding = self.capabilities["positionEncoding"]
        self.notify("initialized", {})

    def open(self, marked: str, uri: str = URI, language: str = "python") -> None:
        """Open a document with the cursor at `█`, or at its end."""
        before, _, after = marked.partition("█")
        document = {"uri": uri, "languageId": language, "version": self.version, "text": before + after}
        self.notify("textDocument/didOpen", {"textDocument": document})
        lines = before.replace("\r\n", "\n").split("\n")
        self.cursor = {"line": len(lines) - 1, "character": self.width(lines[-1])}

    def edit(self, text: str, start: tuple[int, int], end: tuple[int, int], uri: str = URI) -> None:
        """Replace a range of the document; positions in code units."""
        self.version += 1
        span = {name: {"line": at[0], "character": at[1]} for name, at in (("start", start), ("end", end))}
        self.notify(
            "textDocument/didChange",
            {
                "textDocument": {"uri": uri, "version": self.version},
                "contentChanges": [{"range": span, "text": text}],
            },
        )

    def type(self, text: str, uri: str = URI) -> None:
        """Type a piece of one line at the cursor."""
        at = (self.cursor["line"], self.cursor["character"])
        self.edit(text, at, at, uri)
        self.cursor = {"line": at[0], "character": at[1] + self.width(text)}

    def width(self, text: str) -> int:
        """The length in code units of the agreed encoding."""
        bytes_per_unit = {"utf-8": 1, "utf-16": 2, "utf-32": 4}[self.encoding]
        codec = {"utf-8": "utf-8", "utf-16": "utf-16-le", "utf-32": "utf-32-le"}[self.encoding]
        return len(text.encode(codec)) // bytes_per_unit

    def ask(self, uri: str = URI, trigger: int = INVOKED, position: Any = None) -> tuple[int, asyncio.Future[Any]]:
        """Request an inline completion at the cursor; its id, and the future of its answer."""
        return self.request(
            "textDocument/inlineCompletion",
            {
                "textDocument": {"uri": uri},
                "position": position or self.cursor,
                "context": {"triggerKind": trigger},
            },
        )

    async def complete(self, uri: str = URI, trigger: int = INVOKED, position: Any = None) -> Any:
        """The answer to an inline completion request at the cursor. Raises RpcError."""
        async with asyncio.timeout(self.timeout_s):
            return await self.ask(uri, trigger, position)[1]

    async def texts(self, uri: str = URI, trigger: int = INVOKED) -> list[str]:
        """The texts suggested at the cursor."""
        return [item["insertText"] for item in (await self.complete(uri, trigger))["items"]]

    async def closed(self) -> None:
        """Return when the server has closed the connection."""
        async with asyncio.timeout(self.timeout_s):
            await self._listening

    def close_input(self) -> None:
        """Say nothing more."""
        self._writer.close()

    async def disconnect(self) -> None:
        self.close_input()
        self._listening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._listening

    async def _listen(self) -> None:
        while header := await self._reader.readline():
            if header.startswith(b"Content-Length:"):
                length = int(header.split(b":")[1])
            elif not header.strip():
                self._take(json.loads(await self._reader.readexactly(length)))

    def _answer(self, request: dict[str, Any]) -> None:
        answer = self.answers.get(request["method"])
        if isinstance(answer, Exception):
            self.send({"id": request["id"], "error": {"code": -32601, "message": str(answer)}})
        elif answer is not NEVER:
            self.send({"id": request["id"], "result": answer})

    def _take(self, message: dict[str, Any]) -> None:
        if "method" in message:
            self.messages.append(message)
            self._heard.set()
            if "id" in message:
                self._answer(message)
            return
        future = self._waiting.pop(message["id"], None)
        if future is None:
            raise AssertionError(f"an answer to nothing, or a second one: {message}")
        if "error" in message:
            future.set_exception(RpcError(message["error"]))
        else:
            future.set_result(message["result"])


async def code_of(answer: Awaitable[Any]) -> int:
    """The code of an answer that must be an error."""
    with pytest.raises(RpcError) as refusal:
        async with asyncio.timeout(5):
            await answer
    code: int = refusal.value.code
    return code
