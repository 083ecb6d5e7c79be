"""Suggestions that need no engine: the one on screen being typed through, and exact repeats.

    typed through   the document still starts with what was shown to it: the rest of that text, at once
    exact           the same text around the cursor, this hour (memory) or last week (disk)

The store on disk is diskcache without its pickle: a planted cache file must not run code. Whatever goes wrong with
the store costs the cache, never the suggestion.
"""

import contextlib
import hashlib
import json
import logging
import shutil
import sqlite3
import time
from collections import OrderedDict, deque
from collections.abc import Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diskcache

from codex_lsp.document import Snapshot
from codex_lsp.paths import private_dir

log = logging.getLogger(__name__)

# How much of the text on each side makes two places the same. More would tie an entry to where the window began.
KEY_PREFIX_CHARS, KEY_SUFFIX_CHARS = 2048, 512
# Suggestions kept per document for typing through; old ones serve an undo.
N_SHOWN = 8
N_DOCUMENTS = 64
N_IN_MEMORY = 512
# A store that another process holds locked must not hold up a keystroke.
LOCK_TIMEOUT_S = 0.05


@dataclass(frozen=True, slots=True)
class _Shown:
    """A suggestion as it was shown: the text around the cursor then, and what was offered."""

    prefix: str
    suffix: str
    text: str

    def rest(self, snapshot: Snapshot) -> str | None:
        """What is left of the text after the user typed some of it; None when they typed something else."""
        # A suffix that grew is a bracket the editor closed by itself; the rest would close it again.
        if snapshot.suffix[:KEY_SUFFIX_CHARS] != self.suffix:
            return None
        longest = min(len(self.text) - 1, len(snapshot.prefix))
        for n_typed in range(longest + 1):
            typed_from = len(snapshot.prefix) - n_typed
            if self.text.startswith(snapshot.prefix[typed_from:]) and self.prefix == key_prefix(snapshot, typed_from):
                return self.text[n_typed:]
        return None


class CompletionCache:
    """Two memories and one store. `directory` None, or `size_mb` 0, keeps nothing on disk."""

    def __init__(self, directory: Path | None, size_mb: int = 64, max_age_days: int = 30) -> None:
        self._shown: OrderedDict[Hashable, deque[_Shown]] = OrderedDict()
        self._memory: OrderedDict[str, str] = OrderedDict()
        self._max_age_s = max_age_days * 86400
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="cache-writer")
        self._store: Any = _open(directory, size_mb) if directory is not None and size_mb > 0 else None
        self._usable = self._store is not None

    def typed_through(self, key: Hashable, snapshot: Snapshot) -> str | None:
        """What is left of a suggestion shown in document `key` that the user is typing through."""
        for shown in reversed(self._shown.get(key, ())):
            rest = shown.rest(snapshot)
            if rest is not None:
                return rest
        return None

    def show(self, key: Hashable, snapshot: Snapshot, text: str) -> None:
        """Remember that `text` was shown at the cursor of document `key`."""
        if len(self._shown) >= N_DOCUMENTS and key not in self._shown:
            self._shown.popitem(last=False)
        shown = self._shown.setdefault(key, deque(maxlen=N_SHOWN))
        self._shown.move_to_end(key)
        shown.append(_Shown(key_prefix(snapshot), snapshot.suffix[:KEY_SUFFIX_CHARS], text))

    def forget(self, key: Hashable) -> None:
        """Drop what was shown in a document that was closed."""
        self._shown.pop(key, None)

    def get(self, digest: str) -> tuple[str, str] | None:
        """The text kept under a `digest` and where it was found: "memory" or "disk"."""
        if (text := self._memory.get(digest)) is not None:
            self._memory.move_to_end(digest)
            return text, "memory"
        if (text := self._read(digest)) is not None:
            self._remember(digest, text)
            return text, "disk"
        return None

    def put(self, digest: str, text: str) -> None:
        """Keep a text; the disk is written from another thread."""
        self._remember(digest, text)
        if self._usable:
            self._writer.submit(self._write, digest, text)

    def close(self) -> None:
        """Write what is waiting and close the store."""
        store = self._store
        if store is not None:
            # diskcache has a connection for each thread, and each must be closed in its own.
            self._writer.submit(store.close)
        self._writer.shutdown(wait=True)
        if store is not None:
            store.close()
        self._store, self._usable = None, False

    def _remember(self, digest: str, text: str) -> None:
        self._memory[digest] = text
        self._memory.move_to_end(digest)
        if len(self._memory) > N_IN_MEMORY:
            self._memory.popitem(last=False)

    def _read(self, digest: str) -> str | None:
        if not self._usable:
            return None
        try:
            data = self._store.get(digest)
            return None if data is None else _text_of(data)
        except Exception:
            log.warning("the cache on disk could not be read; going on without it", exc_info=True)
            self._usable = False
            return None

    def _write(self, digest: str, text: str) -> None:
        if not self._usable:
            return
        try:
            self._store.set(digest, json.dumps({"text": text}).encode(), expire=self._max_age_s)
        except diskcache.Timeout:
            log.info("another process is writing the cache on disk; one suggestion was not kept")
        except Exception:
            log.warning("the cache on disk could not be written; going on without it", exc_info=True)
            self._usable = False


def digest(snapshot: Snapshot, *parts: object) -> str:
    """A key for the text around the cursor plus whatever else an answer depends on (model, shape, length)."""
    fields = [snapshot.language_id, key_prefix(snapshot), snapshot.suffix[:KEY_SUFFIX_CHARS]]
    material = json.dumps([*fields, *map(str, parts)])
    return hashlib.sha256(material.encode()).hexdigest()


def key_prefix(snapshot: Snapshot, end: int | None = None) -> str:
    """The text before the cursor, or before index `end` of the prefix, as far as it makes a place this place."""
    return snapshot.prefix[:end][-KEY_PREFIX_CHARS:]


class PlainDisk(diskcache.Disk):  # type: ignore[misc] # diskcache ships no types
    """diskcache's storage, refusing pickle in both directions: values are bytes, keys are strings."""

    def put(self, key: Any) -> tuple[Any, bool]:
        """A key as a column; only strings are ours."""
        if not isinstance(key, str):
            raise ValueError(f"a cache key of type {type(key).__name__}")
        return key, True

    def get(self, key: Any, raw: bool) -> Any:
        """A key read back; one that is not raw would be unpickled."""
        if not raw:
            raise ValueError("the cache on disk holds a pickled key that we did not write")
        return key

    def store(self, value: Any, read: bool, key: Any = diskcache.UNKNOWN) -> Any:
        """A value as columns; only bytes are ours."""
        if not isinstance(value, bytes):
            raise ValueError(f"a cache value of type {type(value).__name__}")
        return super().store(value, read, key)

    def fetch(self, mode: int, filename: str | None, value: Any, read: bool) -> Any:
        """A value read back; one stored as pickle is not ours."""
        if mode == diskcache.core.MODE_PICKLE:
            raise ValueError("the cache on disk holds a pickled value that we did not write")
        return super().fetch(mode, filename, value, read)


class _Store(diskcache.Cache):  # type: ignore[misc] # diskcache ships no types
    """A store that has been read once: a damaged file shows itself here, and leaves no connection open."""

    def __init__(self, directory: str, **options: Any) -> None:
        self._local = None  # where diskcache keeps its connections, once it gets so far
        try:
            super().__init__(directory, **options)
            self.get("")
            self.expire()
        except BaseException:
            if self._local is not None:
                self.close()
            raise


def _open(directory: Path, size_mb: int) -> Any:
    """The store, after setting a corrupt one aside; None when the disk will have none of it."""
    for _ in range(2):
        try:
            private_dir(directory)
            if _is_locked(directory):
                log.warning("another process holds the cache in %s; going on without it", directory)
                return None
            return _Store(str(directory), disk=PlainDisk, size_limit=size_mb * 1024 * 1024, timeout=LOCK_TIMEOUT_S)
        except Exception as error:  # noqa: BLE001 - diskcache trusts what it reads, and here that may be anything
            log.warning("the cache in %s is unusable (%s); setting it aside", directory, error)
            _set_aside(directory)
    return None


def _is_locked(directory: Path) -> bool:
    """Whether somebody holds the database; diskcache would wait a minute for it to be let go."""
    with contextlib.closing(sqlite3.connect(directory / "cache.db", timeout=LOCK_TIMEOUT_S)) as database:
        try:
            database.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
                return True
            raise
    return False


def _text_of(data: bytes) -> str:
    text = json.loads(data)["text"]
    if not isinstance(text, str):
        raise ValueError("the cache on disk holds something that we did not write")
    return text


def _set_aside(directory: Path) -> None:
    with contextlib.suppress(OSError):
        for old in directory.parent.glob(f"{directory.name}.corrupt-*"):
            shutil.rmtree(old, ignore_errors=True)
        directory.rename(directory.with_name(f"{directory.name}.corrupt-{int(time.time())}"))
