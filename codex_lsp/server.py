"""The language server: one Session per editor connection. LSP types stop here.

Three things of pygls are replaced, because here one process serves many editors: `exit` ends a connection, not the
process; errors go to the log, not into the user's face; documents are ours (see `document`).

Answers follow what clients do with them (docs/architecture.md, "What clients do"): nothing to say is an empty list,
never null; a request overtaken by a newer one, or by an edit, answers with error -32800, RequestCancelled.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from cattrs import Converter
from lsprotocol import types
from pygls.exceptions import JsonRpcException, JsonRpcInvalidParams, JsonRpcInvalidRequest
from pygls.lsp.server import LanguageServer
from pygls.protocol import LanguageServerProtocol, lsp_method
from pygls.uris import to_fs_path

from codex_lsp import __version__, methods
from codex_lsp.clients import Client
from codex_lsp.completer import Ask, Completer, Record
from codex_lsp.config import ConfigFiles
from codex_lsp.document import Change, Document, Position, PositionEncoding, Snapshot
from codex_lsp.engine.request import EngineError, EngineStatus
from codex_lsp.policy import Refusal
from codex_lsp.progress import LoadProgress

log = logging.getLogger(__name__)

SECTION = "codex_lsp"
ACCEPTED = "codexLsp.accepted"


class Control(Protocol):
    """What a session may ask of the daemon it lives in."""

    def status(self) -> dict[str, Any]:
        """Everything `codex-lsp daemon status --json` prints."""
        ...

    def stop(self) -> None:
        """End the daemon once this answer is out."""
        ...

    async def measure(self) -> dict[str, Any]:
        """Prefill and decode speed, measured now."""
        ...

    def wake(self) -> None:
        """Begin loading the model."""
        ...

    def listen(self, listener: Callable[[EngineStatus], None]) -> Callable[[], None]:
        """Call `listener` on every change of the engine's state, until the returned function is called."""
        ...

    def accepted(self) -> None:
        """Count a suggestion that an editor accepted."""
        ...


@dataclass(frozen=True, slots=True)
class Services:
    """What all sessions of a daemon share. One converter: building it takes 0.3 s."""

    completer: Completer
    config: ConfigFiles
    control: Control
    converter: Converter


class SessionProtocol(LanguageServerProtocol):
    """pygls's protocol with our documents, and without its ways to end the process."""

    _server: "Session"

    def structure_message(self, data: dict[str, Any]) -> Any:
        """A message from its JSON. One that does not fit its type is answered, not only logged."""
        if data.get("method") == types.TEXT_DOCUMENT_INLINE_COMPLETION and "jsonrpc" in data:
            self._server.client.speak_plainly(data)
        try:
            return super().structure_message(data)
        except JsonRpcException:
            if "id" in data and "method" in data:
                self._send_response(data["id"], error=JsonRpcInvalidParams().to_response_error())
            raise

    def handle_message(self, message: Any) -> None:
        """Hand a message to its handler. A request after `shutdown` is refused; pygls would never answer it."""
        if self._shutdown and hasattr(message, "id") and hasattr(message, "method"):
            self._send_response(message.id, error=JsonRpcInvalidRequest().to_response_error())
        else:
            super().handle_message(message)

    def cancel_all(self) -> None:
        """End what still runs or waits for the client to answer."""
        for future in list(self._request_futures.values()):
            future.cancel()

    @lsp_method(types.EXIT)
    def lsp_exit(self, *_: Any) -> None:  # type: ignore[override] # the base yields to a user handler
        """End this connection; the other editors keep theirs."""
        if self.writer is not None:
            self.writer.close()

    @lsp_method(types.TEXT_DOCUMENT_DID_OPEN)
    def lsp_text_document__did_open(self, params: types.DidOpenTextDocumentParams) -> None:
        """Keep a document."""
        item = params.text_document
        self._server.documents[item.uri] = Document(item.uri, item.language_id, item.version, item.text)

    @lsp_method(types.TEXT_DOCUMENT_DID_CHANGE)
    def lsp_text_document__did_change(self, params: types.DidChangeTextDocumentParams) -> None:
        """Make an edit."""
        document = self._server.documents.get(params.text_document.uri)
        if document is None:
            log.warning("an edit of a document that is not open")
            return
        changes = [_change(event) for event in params.content_changes]
        document.apply(changes, params.text_document.version, self._server.encoding)

    @lsp_method(types.TEXT_DOCUMENT_DID_CLOSE)
    def lsp_text_document__did_close(self, params: types.DidCloseTextDocumentParams) -> None:
        """Drop a document and whatever runs for it."""
        self._server.close_document(params.text_document.uri)


class Session(LanguageServer):
    """One editor's connection: its documents, its options, its running requests."""

    protocol: SessionProtocol

    def __init__(self, services: Services) -> None:
        super().__init__(
            "codex-lsp",
            __version__,
            protocol_cls=SessionProtocol,
            converter_factory=lambda: services.converter,
        )
        self.documents: dict[str, Document] = {}
        self.client = Client()
        self.encoding: PositionEncoding = "utf-16"
        self._services = services
        self._options: dict[str, Any] = {}
        self._running: dict[str, asyncio.Task[Any]] = {}
        self._told: set[str] = set()
        self._progress = LoadProgress(self)
        self._stop_listening: Callable[[], None] = lambda: None
        self._register()

    def close(self) -> None:
        """The connection is gone: so is everybody who waits for an answer on it."""
        self._stop_listening()
        self._progress.close()
        self.protocol.cancel_all()
        for uri in list(self.documents):
            self.close_document(uri)

    def close_document(self, uri: str) -> None:
        """Drop a document and whatever runs for it."""
        self.documents.pop(uri, None)
        self._services.completer.forget(self._key(uri))
        if (task := self._running.get(uri)) is not None:
            task.cancel()

    def report_server_error(self, error: Exception, source: Any) -> None:
        """Log it. A pop-up for each odd message would punish the user for the client's mistake."""
        log.error("%s: %s", getattr(source, "__name__", source), error, exc_info=error)

    # Requests and notifications

    def _register(self) -> None:
        # pygls marks each handler with attributes, which a bound method cannot carry and a partial can.
        self.feature(types.INITIALIZE)(partial(self._initialize))
        self.feature(types.INITIALIZED)(partial(self._initialized))
        self.feature(types.WORKSPACE_DID_CHANGE_CONFIGURATION)(partial(self._did_change_configuration))
        self.feature(types.TEXT_DOCUMENT_INLINE_COMPLETION, types.InlineCompletionOptions())(
            partial(self._inline_completion)
        )
        self.command(ACCEPTED)(partial(self._accepted))
        self.feature(methods.LAST_REQUEST)(partial(self._last_request))
        self.feature(methods.STATUS)(lambda _: self._services.control.status())
        self.feature(methods.STOP)(lambda _: self._services.control.stop())
        self.feature(methods.MEASURE)(partial(self._measure))

    def _initialize(self, params: types.InitializeParams) -> None:
        self.client.name = params.client_info.name if params.client_info else ""
        self.encoding = _encoding(self.workspace.position_encoding)
        options = params.initialization_options
        if isinstance(options, dict):
            self._set_options(options.get(SECTION, options))

    async def _initialized(self, _: types.InitializedParams) -> None:
        self._stop_listening = self._services.control.listen(self._on_engine_status)
        self._services.control.wake()
        await self._pull_configuration()

    async def _did_change_configuration(self, params: types.DidChangeConfigurationParams) -> None:
        settings = params.settings
        if isinstance(settings, dict) and SECTION in settings:
            self._set_options(settings[SECTION])
        else:
            await self._pull_configuration()

    async def _pull_configuration(self) -> None:
        """Ask a client that can answer for its settings; one that has none for us says null."""
        workspace = self.client_capabilities.workspace
        if workspace is None or not workspace.configuration:
            return
        try:
            answer = await self.workspace_configuration_async(
                types.ConfigurationParams([types.ConfigurationItem(section=SECTION)])
            )
        except JsonRpcException as error:
            log.warning("the client did not answer for its settings: %s", error)
            return
        if answer and isinstance(answer[0], dict):
            self._set_options(answer[0])

    def _set_options(self, options: Any) -> None:
        """Take what the client has set for us; null, or anything else that is no table, is nothing."""
        self._options = options if isinstance(options, dict) else {}

    async def _inline_completion(self, params: types.InlineCompletionParams) -> types.InlineCompletionList:
        uri = params.text_document.uri
        document = self.documents.get(uri)
        if document is None:
            return types.InlineCompletionList(items=[])
        self._supersede(uri)
        try:
            items = await self._items(uri, document, params)
        except Exception:
            log.exception("no answer for a keystroke")
            items = []
        finally:
            self._finished(uri)
        return types.InlineCompletionList(items=items)

    def _accepted(self, *_: Any) -> None:
        self._services.control.accepted()

    def _last_request(self, params: Any) -> dict[str, Any] | None:
        record = self._services.completer.last(self._key(params.uri))
        return None if record is None else describe(record)

    async def _measure(self, _: Any) -> dict[str, Any]:
        try:
            return await self._services.control.measure()
        except EngineError as error:
            return {"error": str(error)}

    # Parts of an inline completion

    def _supersede(self, uri: str) -> None:
        """Only the newest request of a document is worth an answer."""
        older = self._running.get(uri)
        if older is not None:
            older.cancel()
        task = asyncio.current_task()
        if task is not None:
            self._running[uri] = task

    def _finished(self, uri: str) -> None:
        if self._running.get(uri) is asyncio.current_task():
            del self._running[uri]

    async def _items(
        self, uri: str, document: Document, params: types.InlineCompletionParams
    ) -> list[types.InlineCompletionItem]:
        version = document.version
        snapshot, record = await self._services.completer.complete(self._ask(uri, document, params))
        if record.refusal in (Refusal.NO_MODEL, Refusal.ENGINE_DIED):
            self._tell_once(record.detail)
        if self.documents.get(uri) is not document or document.version != version:
            # The text moved on without a newer request; drawn now, this would stand at the wrong place.
            raise asyncio.CancelledError
        return [self._item(document, snapshot, record)] if record.text else []

    def _ask(self, uri: str, document: Document, params: types.InlineCompletionParams) -> Ask:
        path, root = self._place(uri)
        settings = self._services.config.settings_for(path, root, self._options)
        for complaint in self._services.config.new_complaints():
            self._tell_once(str(complaint))
        return Ask(
            key=self._key(uri),
            document=document,
            position=Position(params.position.line, params.position.character),
            encoding=self.encoding,
            path=_excludable(path, root),
            settings=settings,
            invoked=params.context.trigger_kind == types.InlineCompletionTriggerKind.Invoked,
        )

    def _item(self, document: Document, snapshot: Snapshot, record: Record) -> types.InlineCompletionItem:
        text = record.text
        if snapshot.eol == "\r\n" and self.client.keeps_line_ends:
            text = text.replace("\n", "\r\n")
        # Not the position that was asked for, which may lie outside the text.
        end = types.Position(*document.position(snapshot.line, snapshot.column, self.encoding))
        start = end
        if self.client.wants_line_start_range:
            text = snapshot.line_prefix + text
            start = types.Position(end.line, 0)
        return types.InlineCompletionItem(
            insert_text=text,
            range=types.Range(start=start, end=end),
            command=types.Command(title="Suggestion accepted", command=ACCEPTED, arguments=[{"id": record.id}]),
        )

    def _place(self, uri: str) -> tuple[Path | None, Path | None]:
        """The file behind a URI and the innermost workspace folder it is in."""
        path = to_fs_path(uri) if uri.startswith("file:") else None
        if path is None:
            return None, None
        folders = [Path(folder) for f in self.workspace.folders.values() if (folder := to_fs_path(f.uri))]
        if self.workspace.root_path:
            folders.append(Path(self.workspace.root_path))
        around = [folder for folder in folders if Path(path).is_relative_to(folder)]
        return Path(path), max(around, key=lambda folder: len(folder.parts), default=None)

    def _key(self, uri: str) -> tuple[int, str]:
        return id(self), uri

    # Telling the user

    def _tell_once(self, message: str) -> None:
        if message and message not in self._told:
            self._told.add(message)
            self.window_show_message(types.ShowMessageParams(types.MessageType.Warning, f"codex_lsp: {message}"))

    def _on_engine_status(self, status: EngineStatus) -> None:
        self._progress.update(status)
        if status.state == "failed":
            self._tell_once(status.message)
        for warning in status.info.warnings if status.info else ():
            self._tell_once(warning)


def describe(record: Record) -> dict[str, Any]:
    """A record as the answer to `codexLsp/lastRequest`."""
    fields = asdict(record)
    fields["refusal"] = None if record.refusal is None else record.refusal.name.lower()
    fields["reason"] = None if record.refusal is None else (record.detail or record.refusal.value)
    return fields


def _encoding(kind: Any) -> PositionEncoding:
    value = getattr(kind, "value", kind)
    return value if value in ("utf-8", "utf-16", "utf-32") else "utf-16"


def _change(event: types.TextDocumentContentChangeEvent) -> Change:
    if isinstance(event, types.TextDocumentContentChangePartial):
        return Change(event.text, _position(event.range.start), _position(event.range.end))
    return Change(event.text)


def _position(position: types.Position) -> Position:
    return Position(position.line, position.character)


def _excludable(path: Path | None, root: Path | None) -> str | None:
    """The path that `exclude` looks at: below the workspace, or whole where there is none.

    The name alone would not tell `~/.ssh/config` from any other file called `config`.
    """
    return None if path is None else str(path.relative_to(root or path.anchor))
