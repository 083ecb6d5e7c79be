"""The editor's progress bar while a model loads (`window/workDoneProgress`, LSP 3.15)."""

import asyncio
import uuid

from lsprotocol import types
from pygls.exceptions import JsonRpcException
from pygls.lsp.server import LanguageServer

from codex_lsp.engine.request import EngineStatus

TITLE = "codex_lsp: loading the model"


class LoadProgress:
    """Shows one load at a time; a client without progress bars sees nothing."""

    def __init__(self, session: LanguageServer) -> None:
        self._session = session
        self._status = EngineStatus()
        self._showing: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()

    def update(self, status: EngineStatus) -> None:
        """Follow the engine; starts a bar when a load begins."""
        self._status = status
        self._changed.set()
        if status.state == "loading" and self._supported() and (self._showing is None or self._showing.done()):
            self._showing = asyncio.create_task(self._show())

    def close(self) -> None:
        """Stop following; the connection is gone."""
        if self._showing is not None:
            self._showing.cancel()

    def _supported(self) -> bool:
        window = self._session.client_capabilities.window
        return bool(window and window.work_done_progress)

    async def _show(self) -> None:
        progress, token = self._session.work_done_progress, str(uuid.uuid4())
        try:
            await progress.create_async(token)
        except JsonRpcException:
            return  # the client announced progress bars and then would not make one
        progress.begin(token, types.WorkDoneProgressBegin(title=TITLE, percentage=0))
        while self._status.state == "loading":
            percentage = int(self._status.progress * 100)
            progress.report(token, types.WorkDoneProgressReport(percentage=percentage))
            self._changed.clear()
            await self._changed.wait()
        message = "ready" if self._status.state == "ready" else "failed"
        progress.end(token, types.WorkDoneProgressEnd(message=message))
