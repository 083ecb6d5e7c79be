"""One completion, from a place in a document to the text the editor shows.

    policy ─ cache ─┬─ hit ───────────────────────────────────────────────▶ text
                    └─ window ─ debounce ─ engine ─ postprocess ─ cache ──▶ text

A hit is never debounced. Superseding is the caller's: it cancels the task of the older request. Every request
leaves a `Record` of what happened to it, which is what `codex-lsp complete --json` prints.
"""

import asyncio
import itertools
import logging
import time
from collections import Counter, OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Literal

from codex_lsp import __version__, policy, postprocess
from codex_lsp import cache as caching
from codex_lsp.cache import CompletionCache
from codex_lsp.context.window import Budget, Windows, affordable_tokens, lines_around
from codex_lsp.document import Document, Position, PositionEncoding, Snapshot
from codex_lsp.engine.request import (
    Completion,
    Engine,
    EngineDied,
    FinishReason,
    ModelUnusable,
    Request,
)
from codex_lsp.policy import Refusal, Shape
from codex_lsp.settings import Settings

log = logging.getLogger(__name__)

Source = Literal["typed", "memory", "disk", "engine", "none"]

N_RECORDS = 256
# Room for what the template, n_predict and odd text take beside the window.
N_SPARE_TOKENS = 64
# A single line longer than its part of the window several times over is minified code: only its end is sent.
MAX_OVERSIZE = 2


@dataclass(frozen=True, slots=True)
class Ask:
    """Who asks for what. `key` names the document within its editor; `path` is what `exclude` looks at."""

    key: Hashable
    document: Document
    position: Position
    encoding: PositionEncoding
    path: str | None
    settings: Settings
    invoked: bool


@dataclass(frozen=True, slots=True)
class Record:
    """What happened to one request. `text` is empty when nothing was suggested, and `refusal` says why."""

    id: int
    text: str
    source: Source
    refusal: Refusal | None = None
    detail: str = ""
    waited_ms: float = 0.0
    completion: Completion | None = None


class Completer:
    """One for the whole daemon: one engine, one cache, the windows of all documents."""

    def __init__(self, engine: Engine, cache: CompletionCache) -> None:
        self._engine = engine
        self._cache = cache
        self._windows = Windows()
        self._affordable = 0
        self._records: OrderedDict[Hashable, Record] = OrderedDict()
        self._ids = itertools.count(1)
        self.counts: Counter[str] = Counter()

    async def complete(self, ask: Ask) -> tuple[Snapshot, Record]:
        """The suggestion for a place and the snapshot it is for. Raises only CancelledError."""
        began = time.perf_counter()
        snapshot = _around(ask)
        record = Record(next(self._ids), "", "none")
        shape = policy.judge(snapshot, ask.path, ask.settings, invoked=ask.invoked)
        if isinstance(shape, Refusal):
            record = replace(record, refusal=shape)
        else:
            record = self._look_up(ask, snapshot, shape, record) or await self._ask(ask, snapshot, shape, record)
        record = replace(record, waited_ms=(time.perf_counter() - began) * 1000)
        if record.text:
            self._cache.show(ask.key, snapshot, record.text)
        elif record.refusal is None:
            record = replace(record, refusal=Refusal.NOTHING)
        self._remember(ask.key, record)
        self._count(record)
        return snapshot, record

    def last(self, key: Hashable) -> Record | None:
        """What happened to the last request for a document."""
        return self._records.get(key)

    def forget(self, key: Hashable) -> None:
        """Drop what is known of a document that was closed."""
        self._cache.forget(key)
        self._records.pop(key, None)

    def _look_up(self, ask: Ask, snapshot: Snapshot, shape: Shape, record: Record) -> Record | None:
        if rest := self._cache.typed_through(ask.key, snapshot):
            return replace(record, text=rest, source="typed")
        if found := self._cache.get(self._digest(ask, snapshot, shape)):
            text, where = found
            source: Source = "memory" if where == "memory" else "disk"
            return replace(record, text=postprocess.fit(text, snapshot, FinishReason.END), source=source)
        return None

    async def _ask(self, ask: Ask, snapshot: Snapshot, shape: Shape, record: Record) -> Record:
        request = self._request(ask, shape)
        if not ask.invoked:
            await asyncio.sleep(ask.settings.debounce_ms / 1000)
        partial = _Partial()
        try:
            completion = await self._engine.complete(request, partial.update)
        except ModelUnusable as error:
            return replace(record, refusal=Refusal.NO_MODEL, detail=str(error))
        except EngineDied as error:
            # What it had said before it died is as good as what a deadline leaves.
            text = postprocess.fit(partial.text, snapshot, FinishReason.DEADLINE)
            return replace(record, text=text, source="engine", refusal=Refusal.ENGINE_DIED, detail=str(error))
        text = postprocess.fit(completion.text, snapshot, completion.finish_reason)
        # What the deadline cut says more about this machine's load just now than about the place.
        if completion.finish_reason is not FinishReason.DEADLINE:
            self._cache.put(self._digest(ask, snapshot, shape), text)
        _log_completion(record.id, completion)
        return replace(record, text=text, source="engine", completion=completion)

    def _request(self, ask: Ask, shape: Shape) -> Request:
        line, _ = ask.document.column(ask.position, ask.encoding)
        budget = Budget.of_tokens(self._window_tokens(ask.settings))
        first, last = self._windows.lines(ask.key, ask.document, line, budget)
        window = ask.document.snapshot(ask.position, ask.encoding, first, last)
        return Request(
            prefix=window.prefix[-budget.prefix_chars * MAX_OVERSIZE :],
            suffix=window.suffix[: budget.suffix_chars * MAX_OVERSIZE],
            n_predict=ask.settings.max_tokens,
            deadline_ms=ask.settings.deadline_ms,
            single_line=shape.single_line,
            base_indent=shape.base_indent,
        )

    def _window_tokens(self, settings: Settings) -> int:
        info = self._engine.status.info
        affordable = affordable_tokens(info.prefill_per_s if info else 0.0)
        # A window that followed every wobble of the measured speed would begin elsewhere each time.
        if not self._affordable / 2 < affordable < self._affordable * 2:
            self._affordable = affordable
        wanted = settings.context_tokens or self._affordable
        room = info.n_ctx - settings.max_tokens - N_SPARE_TOKENS if info else wanted
        return max(1, min(wanted, room))

    def _digest(self, ask: Ask, snapshot: Snapshot, shape: Shape) -> str:
        # The version, because a new one may ask the same model differently.
        return caching.digest(snapshot, __version__, self._engine.status.model_id, shape, ask.settings.max_tokens)

    def _count(self, record: Record) -> None:
        self.counts["answered"] += 1
        self.counts[f"from_{record.source}"] += 1
        self.counts["shown"] += bool(record.text)
        if (done := record.completion) is not None:
            self.counts["tokens_reused"] += done.n_reused
            self.counts["tokens_prefilled"] += done.n_prefilled
            self.counts["tokens_decoded"] += done.n_decoded

    def _remember(self, key: Hashable, record: Record) -> None:
        self._records[key] = record
        self._records.move_to_end(key)
        if len(self._records) > N_RECORDS:
            self._records.popitem(last=False)


def _around(ask: Ask) -> Snapshot:
    """The text next to the cursor, always cut alike: what cache keys and rules may depend on.

    Twice what a key needs, so that the key of a place some typing ago can still be made from it.
    """
    line, _ = ask.document.column(ask.position, ask.encoding)
    first, last = lines_around(ask.document, line, 2 * caching.KEY_PREFIX_CHARS, caching.KEY_SUFFIX_CHARS)
    return ask.document.snapshot(ask.position, ask.encoding, first, last)


class _Partial:
    """The text of a completion so far."""

    def __init__(self) -> None:
        self.text = ""

    def update(self, text: str) -> None:
        self.text = text


def _log_completion(record_id: int, completion: Completion) -> None:
    """One line per completion: reused against prefilled is the number that tells whether the KV cache works."""
    log.info(
        "%d: prefill %d of %d tokens in %.0f ms, decode %d in %.0f ms, %s",
        record_id,
        completion.n_prefilled,
        completion.n_prompt,
        completion.prefill_ms,
        completion.n_decoded,
        completion.total_ms - (completion.first_token_ms or completion.total_ms),
        completion.finish_reason,
    )
