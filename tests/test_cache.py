"""The cache: typing through a suggestion, exact repeats, and a store on disk that may be anything."""

import pickle
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from codex_lsp import cache as caching
from codex_lsp.cache import CompletionCache, digest
from codex_lsp.document import Document, Position, Snapshot


def at(text: str, language: str = "python") -> Snapshot:
    """What surrounds the `█` in a text."""
    before, _, after = text.partition("█")
    document = Document("file:///a.py", language, 1, before + after)
    lines = before.split("\n")
    position = Position(len(lines) - 1, len(lines[-1]))
    return document.snapshot(position, "utf-32", 0, document.line_count)


@pytest.fixture
def open_cache(tmp_path: Path) -> Iterator[Callable[..., CompletionCache]]:
    """Opens the cache in one folder, any number of times; a new one closes the one before."""
    opened: list[CompletionCache] = []

    def open_one(directory: Path = tmp_path / "completions", **limits: int) -> CompletionCache:
        if opened:
            opened.pop().close()
        opened.append(CompletionCache(directory, **limits))
        return opened[0]

    yield open_one
    for cache in opened:
        cache.close()


@pytest.fixture
def cache() -> Iterator[CompletionCache]:
    cache = CompletionCache(None)
    yield cache
    cache.close()


class TestTypedThrough:
    def test_each_character_typed_leaves_the_rest_until_nothing_is_left(self, cache: CompletionCache) -> None:
        text = "return a + b\n    # sum"
        cache.show("doc", at("def add(a, b):\n    █\n"), text)
        for n in range(len(text)):
            assert cache.typed_through("doc", at(f"def add(a, b):\n    {text[:n]}█\n")) == text[n:]
        assert cache.typed_through("doc", at(f"def add(a, b):\n    {text}█\n")) is None

    def test_text_that_repeats_itself_is_counted_right(self, cache: CompletionCache) -> None:
        cache.show("doc", at("----█\n"), "-----")
        assert cache.typed_through("doc", at("------█\n")) == "---"

    def test_something_else_typed_ends_it(self, cache: CompletionCache) -> None:
        cache.show("doc", at("x = █\n"), "value")
        assert cache.typed_through("doc", at("x = vo█\n")) is None

    def test_after_an_undo_it_is_there_again(self, cache: CompletionCache) -> None:
        cache.show("doc", at("x = █\n"), "value")
        assert cache.typed_through("doc", at("x = vo█\n")) is None
        assert cache.typed_through("doc", at("x = █\n")) == "value"

    def test_an_older_suggestion_serves_when_the_newest_does_not(self, cache: CompletionCache) -> None:
        cache.show("doc", at("x = █\n"), "value")
        cache.show("doc", at("x = vo█\n"), "lume")
        assert cache.typed_through("doc", at("x = val█\n")) == "ue"
        assert cache.typed_through("doc", at("x = vol█\n")) == "ume"

    def test_another_document_and_a_closed_one_have_nothing(self, cache: CompletionCache) -> None:
        cache.show("doc", at("x = █\n"), "value")
        assert cache.typed_through("other", at("x = v█\n")) is None
        cache.forget("doc")
        assert cache.typed_through("doc", at("x = v█\n")) is None

    @pytest.mark.parametrize("below", ["", "\n", "\nprint(x)\n"])
    def test_a_bracket_that_the_editor_closed_is_not_suggested_twice(self, cache: CompletionCache, below: str) -> None:
        cache.show("doc", at(f"x = █{below}"), "call(a, b)")
        assert cache.typed_through("doc", at(f"x = call(█){below}")) is None

    def test_text_that_changed_below_ends_it(self, cache: CompletionCache) -> None:
        cache.show("doc", at("x = █\nprint(x)\n"), "value")
        assert cache.typed_through("doc", at("x = v█\nprint(y)\n")) is None

    def test_a_window_that_begins_elsewhere_does_not_matter(self, cache: CompletionCache) -> None:
        above = "".join(f"line_{i} = {i}\n" for i in range(400))
        cache.show("doc", at(above + "x = █\n"), "value")
        assert cache.typed_through("doc", at(above[above.index("line_100") :] + "x = va█\n")) == "lue"

    def test_documents_are_bounded(self, cache: CompletionCache) -> None:
        for i in range(caching.N_DOCUMENTS + 1):
            cache.show(i, at("x = █\n"), "value")
        assert cache.typed_through(0, at("x = █\n")) is None
        assert cache.typed_through(1, at("x = █\n")) == "value"


class TestExact:
    def test_a_repeat_comes_from_memory(self, cache: CompletionCache) -> None:
        cache.put("k", "text")
        assert cache.get("k") == ("text", "memory")
        assert cache.get("other") is None

    def test_nothing_to_suggest_is_an_answer_too(self, cache: CompletionCache) -> None:
        cache.put("k", "")
        assert cache.get("k") == ("", "memory")

    def test_the_least_recently_used_text_goes_first(self, cache: CompletionCache) -> None:
        for i in range(caching.N_IN_MEMORY):
            cache.put(str(i), "text")
        cache.get("0")
        cache.put("1", "again")
        cache.put("one more", "text")
        cache.put("two more", "text")
        assert cache.get("0") is not None
        assert cache.get("1") is not None
        assert cache.get("2") is None

    def test_what_an_answer_depends_on_is_in_the_key(self) -> None:
        here = digest(at("x = █\n"), "model", 64)
        assert digest(at("x = █\n"), "model", 64) == here
        others = [
            digest(at("y = █\n"), "model", 64),
            digest(at("x = █\n\n"), "model", 64),
            digest(at("x = █\n", "go"), "model", 64),
            digest(at("x = █\n"), "other model", 64),
            digest(at("x = █\n"), "model", 32),
        ]
        assert here not in others
        assert len(set(others)) == len(others)

    def test_half_a_surrogate_pair_has_a_key(self) -> None:
        assert digest(at("x = '\ud83d█'\n"))


class TestOnDisk:
    def test_it_survives_a_restart(self, open_cache: Callable[..., CompletionCache]) -> None:
        open_cache().put("k", "naïve \U0001f600\n\ttext")
        cache = open_cache()
        assert cache.get("k") == ("naïve \U0001f600\n\ttext", "disk")
        assert cache.get("k") == ("naïve \U0001f600\n\ttext", "memory")

    def test_a_large_text_does_too(self, open_cache: Callable[..., CompletionCache]) -> None:
        open_cache().put("k", "x" * 100_000)
        assert open_cache().get("k") == ("x" * 100_000, "disk")

    def test_old_entries_are_gone(
        self, open_cache: Callable[..., CompletionCache], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        open_cache(max_age_days=2).put("k", "text")
        now = time.time()
        monkeypatch.setattr(time, "time", lambda: now + 1.9 * 86400)
        assert open_cache(max_age_days=2).get("k") is not None
        monkeypatch.setattr(time, "time", lambda: now + 2.1 * 86400)
        assert open_cache(max_age_days=2).get("k") is None

    def test_its_size_is_bounded(self, open_cache: Callable[..., CompletionCache], tmp_path: Path) -> None:
        cache = open_cache(size_mb=1)
        for i in range(60):
            cache.put(str(i), f"{i}" * 40_000)
        cache.close()
        size = sum(file.stat().st_size for file in (tmp_path / "completions").rglob("*") if file.is_file())
        assert size < 1.2 * 1024 * 1024
        assert open_cache(size_mb=1).get("59") is not None

    def test_only_its_user_may_look(self, open_cache: Callable[..., CompletionCache], tmp_path: Path) -> None:
        (tmp_path / "completions").mkdir(mode=0o755)
        open_cache()
        assert (tmp_path / "completions").stat().st_mode & 0o777 == 0o700

    def test_no_size_means_no_files(self, open_cache: Callable[..., CompletionCache], tmp_path: Path) -> None:
        cache = open_cache(size_mb=0)
        cache.put("k", "text")
        assert cache.get("k") == ("text", "memory")
        assert not (tmp_path / "completions").exists()


class Trap:
    """Its pickle makes a file where it is opened."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.proof,)


PICKLE_MODE = 4


class TestPlanted:
    @pytest.fixture
    def trap(self, tmp_path: Path) -> Iterator[bytes]:
        proof = tmp_path / "the code ran"
        yield pickle.dumps(Trap(proof))
        assert not proof.exists()

    def plant(self, directory: Path, change: str, *values: object) -> None:
        with closing(sqlite3.connect(directory / "cache.db")) as database:
            assert database.execute(change, values).rowcount == 1
            database.commit()

    def test_the_trap_is_a_real_one(self, tmp_path: Path) -> None:
        pickle.loads(pickle.dumps(Trap(tmp_path / "proof")))  # noqa: S301 - that this runs code is the point
        assert (tmp_path / "proof").exists()

    def test_a_pickled_row_is_refused(
        self, open_cache: Callable[..., CompletionCache], tmp_path: Path, trap: bytes
    ) -> None:
        open_cache().put("k", "text")
        open_cache().close()
        self.plant(tmp_path / "completions", "UPDATE Cache SET mode = ?, value = ?", PICKLE_MODE, trap)
        cache = open_cache()
        assert cache.get("k") is None
        cache.put("k", "new")
        assert cache.get("k") == ("new", "memory")

    def test_a_pickled_file_is_refused(
        self, open_cache: Callable[..., CompletionCache], tmp_path: Path, trap: bytes
    ) -> None:
        open_cache().put("k", "text")
        open_cache().close()
        (tmp_path / "completions/planted.val").write_bytes(trap)
        self.plant(
            tmp_path / "completions",
            "UPDATE Cache SET mode = ?, value = NULL, filename = 'planted.val'",
            PICKLE_MODE,
        )
        assert open_cache().get("k") is None

    def test_a_pickled_key_is_refused(
        self, open_cache: Callable[..., CompletionCache], tmp_path: Path, trap: bytes
    ) -> None:
        open_cache().put("k", "text")
        open_cache().close()
        self.plant(tmp_path / "completions", "UPDATE Cache SET key = ?, raw = 0", trap)
        assert open_cache().get("k") is None

    @pytest.mark.parametrize("value", [5, 1.5, "text", b"[1]", b"7", b'{"text": null}', b"{}", b"\xff", None])
    def test_a_value_that_is_none_of_ours_is_no_suggestion(
        self, open_cache: Callable[..., CompletionCache], tmp_path: Path, value: object
    ) -> None:
        open_cache().put("k", "text")
        open_cache().close()
        self.plant(tmp_path / "completions", "UPDATE Cache SET value = ?", value)
        assert open_cache().get("k") is None

    @pytest.mark.parametrize("setting", ["disk_unknown", "sqlite_nonsense", "size_limit"])
    def test_planted_options_cost_the_store_at_most(
        self, open_cache: Callable[..., CompletionCache], tmp_path: Path, setting: str
    ) -> None:
        open_cache().close()
        self.plant(tmp_path / "completions", "INSERT OR REPLACE INTO Settings VALUES (?, ?)", setting, "surprise")
        cache = open_cache()
        cache.put("k", "text")
        assert cache.get("k") is not None


class TestDamaged:
    def test_garbage_is_set_aside_and_a_new_store_serves(
        self, open_cache: Callable[..., CompletionCache], tmp_path: Path
    ) -> None:
        directory = tmp_path / "completions"
        directory.mkdir()
        (directory / "cache.db").write_bytes(b"this is no database" * 1000)
        open_cache().put("k", "text")
        assert open_cache().get("k") == ("text", "disk")
        assert [file.name.split("-")[0] for file in tmp_path.iterdir() if file != directory] == ["completions.corrupt"]

    def test_a_directory_in_its_place_too(self, open_cache: Callable[..., CompletionCache], tmp_path: Path) -> None:
        (tmp_path / "completions/cache.db").mkdir(parents=True)
        open_cache().put("k", "text")
        assert open_cache().get("k") == ("text", "disk")

    def test_damage_again_and_again_does_not_pile_up(
        self, open_cache: Callable[..., CompletionCache], tmp_path: Path
    ) -> None:
        for _ in range(3):
            open_cache().close()
            (tmp_path / "completions/cache.db").write_bytes(b"garbage" * 1000)
            open_cache()
        assert len(list(tmp_path.iterdir())) == 2

    @pytest.mark.parametrize("keep", [0.2, 0.5, 0.9])
    def test_a_truncated_one_never_raises(
        self, open_cache: Callable[..., CompletionCache], tmp_path: Path, keep: float
    ) -> None:
        cache = open_cache()
        for i in range(200):
            cache.put(f"{i:064}", f"text {i}" * 20)
        cache.close()
        file = tmp_path / "completions/cache.db"
        file.write_bytes(file.read_bytes()[: int(file.stat().st_size * keep)])
        cache = open_cache()
        for i in range(200):
            cache.get(f"{i:064}")
            cache.put(f"{i:064}", "new")
        assert cache.get(f"{7:064}") == ("new", "memory")

    def test_a_file_where_the_folder_should_be_costs_only_the_store(
        self, open_cache: Callable[..., CompletionCache], tmp_path: Path
    ) -> None:
        (tmp_path / "file").write_text("in the way")
        cache = open_cache(tmp_path / "file" / "completions")
        cache.put("k", "text")
        assert cache.get("k") == ("text", "memory")

    def test_a_folder_deleted_under_it_costs_only_the_store(
        self, open_cache: Callable[..., CompletionCache], tmp_path: Path
    ) -> None:
        cache = open_cache()
        (tmp_path / "completions").rename(tmp_path / "elsewhere")
        cache.put("k", "x" * 100_000)
        assert cache.get("other") is None
        assert cache.get("k") is not None


class TestLocked:
    """Another process that holds the database for good, say one stopped in a debugger."""

    @pytest.fixture
    def locked(self, open_cache: Callable[..., CompletionCache], tmp_path: Path) -> Iterator[Path]:
        directory = tmp_path / "completions"
        open_cache().close()
        with closing(sqlite3.connect(directory / "cache.db", isolation_level=None)) as other:
            other.execute("PRAGMA locking_mode = EXCLUSIVE")
            other.execute("PRAGMA journal_mode = DELETE")
            other.execute("BEGIN EXCLUSIVE")
            yield directory

    def test_it_does_not_hold_up_the_start_and_is_left_where_it_is(
        self, open_cache: Callable[..., CompletionCache], locked: Path
    ) -> None:
        began = time.perf_counter()
        cache = CompletionCache(locked)
        try:
            assert time.perf_counter() - began < 0.5
            cache.put("k", "text")
            assert cache.get("k") == ("text", "memory")
        finally:
            cache.close()
        assert [file.name for file in locked.parent.iterdir()] == ["completions"]

    def test_it_does_not_hold_up_a_keystroke(self, open_cache: Callable[..., CompletionCache], tmp_path: Path) -> None:
        cache = open_cache()
        cache.put("before", "text")
        with closing(sqlite3.connect(tmp_path / "completions/cache.db", isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            began = time.perf_counter()
            cache.get("unknown")
            cache.put("k", "text")
            assert cache.get("k") == ("text", "memory")
            assert time.perf_counter() - began < 0.2


def test_the_loop_is_never_held_up_by_a_slow_disk(open_cache: Callable[..., CompletionCache]) -> None:
    """Many writes at once are somebody else's time: a thread's."""
    cache = open_cache()
    began = time.perf_counter()
    for i in range(200):
        cache.put(str(i), "text")
    assert time.perf_counter() - began < 0.1
