"""One completion, step by step, with an engine that says what it is told."""

import asyncio
import itertools
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from codex_lsp.cache import CompletionCache
from codex_lsp.completer import Ask, Completer, Record
from codex_lsp.document import Change, Document, Position
from codex_lsp.engine.request import EngineDied, EngineStatus, FinishReason, ModelUnusable, Request
from codex_lsp.policy import Refusal
from codex_lsp.settings import Settings
from tests.fakes_engine import INFO, READY, FakeEngine, completion

AT_ONCE = Settings(debounce_ms=0)


class Editor:
    """A document with a cursor, and the completer that is asked about it."""

    def __init__(self, engine: FakeEngine, cache: CompletionCache) -> None:
        self.completer = Completer(engine, cache)
        self.open("")

    def open(self, marked: str, key: object = "doc") -> None:
        """Open a text with the cursor at `█`, or at its end."""
        before, _, after = marked.partition("█")
        self.key = key
        self.document = Document("file:///a.py", "python", 1, before + after)
        self.cursor = Position(before.count("\n"), len(before) - before.rfind("\n") - 1)

    def type(self, text: str) -> None:
        for char in text:
            self.document.apply([Change(char, self.cursor, self.cursor)], self.document.version + 1, "utf-32")
            line, column = self.cursor
            self.cursor = Position(line + 1, 0) if char == "\n" else Position(line, column + 1)

    async def ask(self, settings: Settings = AT_ONCE, *, invoked: bool = False, **changes: Any) -> Record:
        ask = Ask(self.key, self.document, self.cursor, "utf-32", "a.py", settings, invoked)
        _, record = await self.completer.complete(replace(ask, **changes))
        return record


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def cache() -> Iterator[CompletionCache]:
    cache = CompletionCache(None)
    yield cache
    cache.close()


@pytest.fixture
def editor(engine: FakeEngine, cache: CompletionCache) -> Editor:
    return Editor(engine, cache)


class TestSteps:
    async def test_the_engine_sees_the_text_around_the_cursor(self, editor: Editor, engine: FakeEngine) -> None:
        editor.open("import os\nx = █)\ny = 2\n")
        record = await editor.ask(Settings(debounce_ms=0, max_tokens=17, deadline_ms=900))
        assert (record.text, record.source, record.refusal) == ("answer", "engine", None)
        assert engine.requests == [Request("import os\nx = ", ")\ny = 2\n", 17, 900, single_line=True)]

    async def test_a_refused_place_asks_nobody(self, editor: Editor, engine: FakeEngine) -> None:
        editor.open("x = █")
        record = await editor.ask(Settings(enabled=False))
        assert (record.text, record.source, record.refusal) == ("", "none", Refusal.DISABLED)
        assert engine.requests == []

    async def test_what_the_engine_wrote_is_made_to_fit(self, editor: Editor, engine: FakeEngine) -> None:
        editor.open("print(█)\n")
        engine.answer = "total)"
        assert (await editor.ask()).text == "total"

    async def test_nothing_left_to_show_says_so(self, editor: Editor, engine: FakeEngine) -> None:
        editor.open("print(█)\n")
        engine.answer = ")"
        record = await editor.ask()
        assert (record.text, record.refusal) == ("", Refusal.NOTHING)

    async def test_a_line_too_long_for_any_window_is_cut(self, editor: Editor, engine: FakeEngine) -> None:
        editor.open("x" * 100_000 + "█" + ")" * 100_000)
        await editor.ask()
        assert len(engine.requests[0].prefix) < 10_000
        assert len(engine.requests[0].suffix) < 10_000

    @pytest.mark.parametrize("context_tokens", [64, 1000, 16_384])
    async def test_the_window_leaves_room_for_the_answer(
        self, editor: Editor, engine: FakeEngine, context_tokens: int
    ) -> None:
        editor.open("value = 1\n" * 20_000 + "x = █\n" + "value = 1\n" * 20_000)
        await editor.ask(Settings(debounce_ms=0, context_tokens=context_tokens))
        (request,) = engine.requests
        n_tokens = (len(request.prefix) + len(request.suffix)) / 3.2
        assert n_tokens <= min(context_tokens, INFO.n_ctx - request.n_predict) * 1.05


class TestDebounce:
    async def test_typing_waits_before_the_engine_is_asked(self, editor: Editor, engine: FakeEngine) -> None:
        editor.open("x = █")
        began = time.perf_counter()
        await editor.ask(Settings(debounce_ms=60))
        assert time.perf_counter() - began >= 0.055

    async def test_a_key_within_the_wait_costs_the_engine_nothing(self, editor: Editor, engine: FakeEngine) -> None:
        editor.open("x = █")
        waiting = asyncio.create_task(editor.ask(Settings(debounce_ms=2000)))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert engine.requests == []

    async def test_asking_by_hand_does_not_wait(self, editor: Editor, engine: FakeEngine) -> None:
        editor.open("x = █")
        async with asyncio.timeout(1):
            await editor.ask(Settings(debounce_ms=2000), invoked=True)
        assert len(engine.requests) == 1

    async def test_what_the_cache_has_does_not_wait(self, editor: Editor, engine: FakeEngine) -> None:
        editor.open("x = █")
        await editor.ask()
        async with asyncio.timeout(1):
            assert (await editor.ask(Settings(debounce_ms=2000))).source == "typed"
            editor.open("x = █", key="another window")
            assert (await editor.ask(Settings(debounce_ms=2000))).source == "memory"
            editor.type("a")
            assert (await editor.ask(Settings(debounce_ms=2000))).source == "typed"


class TestCache:
    async def test_typing_a_suggestion_through_needs_the_engine_once(self, editor: Editor, engine: FakeEngine) -> None:
        engine.answer = "compute(a, b)"
        editor.open("x = █\n")
        assert (await editor.ask()).text == "compute(a, b)"
        for n, char in enumerate("compute(a, b", start=1):
            editor.type(char)
            record = await editor.ask()
            assert (record.text, record.source) == ("compute(a, b)"[n:], "typed")
        assert len(engine.requests) == 1
        editor.type(")")
        await editor.ask()
        assert len(engine.requests) == 2

    async def test_nothing_to_suggest_is_kept_too(self, editor: Editor, engine: FakeEngine) -> None:
        engine.answer = completion("", FinishReason.END)
        editor.open("x = 1█\n")
        await editor.ask()
        record = await editor.ask()
        assert (record.text, record.source, record.refusal) == ("", "memory", Refusal.NOTHING)
        assert len(engine.requests) == 1

    async def test_what_the_length_cut_is_kept(self, editor: Editor, engine: FakeEngine) -> None:
        engine.answer = completion("first second", FinishReason.LENGTH)
        editor.open("x = █\n")
        assert (await editor.ask()).text == "first"
        editor.open("x = █\n", key="another window")
        record = await editor.ask()
        assert (record.text, record.source) == ("first", "memory")

    async def test_what_a_deadline_cut_is_not_kept(self, editor: Editor, engine: FakeEngine) -> None:
        engine.answer = completion("first second", FinishReason.DEADLINE)
        editor.open("x = █\n")
        assert (await editor.ask()).text == "first"
        editor.open("x = █\n", key="another window")
        await editor.ask()
        assert len(engine.requests) == 2

    @pytest.mark.parametrize(
        ("settings", "status"),
        [
            (Settings(debounce_ms=0, max_tokens=5), READY),
            (Settings(debounce_ms=0, multi_line="always"), READY),
            (AT_ONCE, replace(READY, model_id="other:1")),
        ],
    )
    async def test_another_question_is_not_answered_with_an_old_answer(
        self, editor: Editor, engine: FakeEngine, settings: Settings, status: EngineStatus
    ) -> None:
        editor.open("x = █\n")
        await editor.ask()
        editor.open("x = █\n", key="another window")
        engine.status = status
        await editor.ask(settings)
        assert len(engine.requests) == 2

    async def test_a_restart_keeps_what_was_said(self, engine: FakeEngine, tmp_path: Path) -> None:
        for source in ("engine", "disk"):
            cache = CompletionCache(tmp_path / "completions")
            editor = Editor(engine, cache)
            editor.open("x = █\n")
            record = await editor.ask()
            cache.close()
            assert (record.text, record.source) == ("answer", source)
        assert len(engine.requests) == 1

    async def test_a_closed_document_is_forgotten(self, editor: Editor, engine: FakeEngine) -> None:
        editor.open("x = █\n")
        await editor.ask()
        editor.completer.forget("doc")
        assert editor.completer.last("doc") is None
        editor.type("a")
        assert (await editor.ask()).source == "engine"


class TestTrouble:
    async def test_a_dying_engine_leaves_the_complete_lines_it_had_said(
        self, editor: Editor, engine: FakeEngine
    ) -> None:
        editor.open("def f():\n    █\n")
        engine.partials = ["a = 1", "a = 1\n    b = 2\n    c"]
        engine.answer = EngineDied("The engine died.")
        record = await editor.ask()
        assert record.text == "a = 1\n    b = 2"
        assert (record.refusal, record.detail) == (Refusal.ENGINE_DIED, "The engine died.")

    async def test_half_an_answer_is_not_kept(self, editor: Editor, engine: FakeEngine) -> None:
        editor.open("def f():\n    █\n")
        engine.partials = ["a = 1\n    b"]
        engine.answer = EngineDied("The engine died.")
        await editor.ask()
        engine.answer = "better"
        editor.open("def f():\n    █\n", key="another window")
        assert (await editor.ask()).text == "better"

    async def test_without_a_model_it_says_what_to_do(self, editor: Editor, engine: FakeEngine) -> None:
        editor.open("x = █")
        engine.answer = ModelUnusable("There is no model: `codex-lsp model pull`.")
        record = await editor.ask()
        assert (record.text, record.refusal) == ("", Refusal.NO_MODEL)
        assert "codex-lsp model pull" in record.detail

    async def test_cancelling_frees_the_engine(self, editor: Editor, engine: FakeEngine) -> None:
        editor.open("x = █")
        engine.hold()
        task = asyncio.create_task(editor.ask())
        await engine.asked()
        task.cancel()
        await engine.gave_up()
        with pytest.raises(asyncio.CancelledError):
            await task


class TestRecords:
    async def test_the_last_request_of_a_document_is_remembered(self, editor: Editor, engine: FakeEngine) -> None:
        editor.open("x = █")
        first = await editor.ask()
        assert editor.completer.last("doc") == first
        editor.type("!")
        second = await editor.ask()
        assert second.id > first.id
        assert editor.completer.last("doc") == second
        assert editor.completer.last("never asked") is None
        assert second.completion is not None
        assert second.waited_ms > 0

    async def test_counts(self, editor: Editor, engine: FakeEngine) -> None:
        editor.open("x = █")
        await editor.ask()
        editor.type("a")
        await editor.ask()
        await editor.ask(Settings(enabled=False))
        assert editor.completer.counts == {
            "answered": 3,
            "from_engine": 1,
            "from_typed": 1,
            "from_none": 1,
            "shown": 2,
            "tokens_reused": 20,
            "tokens_prefilled": 10,
            "tokens_decoded": 5,
        }


def source(n_lines: int) -> str:
    return "".join(f"    value_{i} = compute({i}, key={i * 31 % 97})\n" for i in range(n_lines))


def n_starts(requests: list[Request]) -> int:
    """How often the prompt began anew: the request does not go on from the one before."""
    pairs = itertools.pairwise(request.prefix for request in requests)
    return 1 + sum(not after.startswith(before) for before, after in pairs)


class TestWindow:
    async def test_typing_200_characters_moves_the_window_at_most_once(
        self, editor: Editor, engine: FakeEngine
    ) -> None:
        engine.answer = ""
        editor.open(source(2000) + "█\n" + source(300))
        typed = (source(6) + "\n").replace("value", "total")[:200]
        for char in typed:
            editor.type(char)
            await editor.ask()
        assert len(engine.requests) >= 150
        assert n_starts(engine.requests) <= 2

    async def test_a_wobble_of_the_measured_speed_does_not_move_it(self, editor: Editor, engine: FakeEngine) -> None:
        engine.answer = ""
        editor.open(source(2000) + "█\n")
        for n, char in enumerate("total = compute(1, 2)"):
            speed = 200.0 * (0.7 if n % 2 else 1.3)
            engine.status = replace(READY, info=replace(INFO, prefill_per_s=speed))
            editor.type(char)
            await editor.ask()
        assert n_starts(engine.requests) == 1

    async def test_two_documents_do_not_move_each_other(self, editor: Editor, engine: FakeEngine) -> None:
        engine.answer = ""
        editor.open(source(500) + "█\n", key="a")
        a = (editor.document, editor.cursor)
        editor.open(source(900) + "█\n", key="b")
        for _ in range(5):
            editor.type("x")
            await editor.ask()
        await editor.ask(key="a", document=a[0], position=a[1])
        editor.type("x")
        await editor.ask()
        by_b = [*engine.requests[:5], engine.requests[6]]
        assert n_starts(by_b) == 1
