"""`textDocument/inlineCompletion`: what is answered, when, and where it stands in the document."""

import asyncio
from typing import Any

import pytest

from codex_lsp.engine.request import EngineDied
from tests.fakes_engine import FakeEngine
from tests.lsp.conftest import Connect
from tests.lsp.editor import AUTOMATIC, CANCELLED, INVOKED, URI, code_of

ENCODINGS = ("utf-8", "utf-16", "utf-32")


def encoding(name: str) -> dict[str, Any]:
    return {"general": {"positionEncodings": [name]}}


class TestAnswers:
    @pytest.mark.parametrize("trigger", [INVOKED, AUTOMATIC])
    async def test_a_suggestion(self, connect: Connect, engine: FakeEngine, trigger: int) -> None:
        editor = await connect()
        editor.open("x = █\n")
        (item,) = (await editor.complete(trigger=trigger))["items"]
        assert item["insertText"] == "answer"
        assert item["range"] == {
            "start": {"line": 0, "character": 4},
            "end": {"line": 0, "character": 4},
        }
        assert len(engine.requests) == 1

    async def test_nothing_to_say_is_an_empty_list(self, connect: Connect, engine: FakeEngine) -> None:
        editor = await connect()
        editor.open("x = █\n")
        engine.answer = ""
        assert await editor.complete() == {"items": []}

    async def test_a_document_that_is_not_open_has_nothing(self, connect: Connect) -> None:
        editor = await connect()
        assert await editor.complete("file:///never/opened.py") == {"items": []}

    async def test_a_closed_document_has_nothing(self, connect: Connect) -> None:
        editor = await connect()
        editor.open("x = █\n")
        editor.notify("textDocument/didClose", {"textDocument": {"uri": URI}})
        assert await editor.complete() == {"items": []}

    async def test_a_dead_engine_is_nothing_and_the_next_key_is_answered(
        self, connect: Connect, engine: FakeEngine
    ) -> None:
        editor = await connect()
        editor.open("x = █\n")
        engine.answer = EngineDied("The engine died.")
        assert await editor.complete() == {"items": []}
        engine.answer = "answer"
        assert await editor.texts() == ["answer"]

    async def test_a_fault_of_ours_is_nothing_and_the_next_key_is_answered(
        self, connect: Connect, engine: FakeEngine
    ) -> None:
        editor = await connect()
        editor.open("x = █\n")
        engine.answer = ZeroDivisionError("a bug")
        assert await editor.complete() == {"items": []}
        engine.answer = "answer"
        assert await editor.texts() == ["answer"]

    async def test_a_document_opened_again_is_the_new_one(self, connect: Connect, engine: FakeEngine) -> None:
        editor = await connect()
        editor.open("old = █\n")
        editor.open("new = █\n")
        await editor.complete()
        assert engine.requests[0].prefix == "new = "

    async def test_an_untitled_document_has_suggestions(self, connect: Connect) -> None:
        editor = await connect()
        editor.open("x = █\n", "untitled:Untitled-1")
        assert await editor.texts("untitled:Untitled-1") == ["answer"]


class TestCancelled:
    """Every way in which an answer stops being wanted. The engine is held, so only the cancelling answers."""

    async def test_a_newer_request_supersedes_an_older_one(self, connect: Connect, engine: FakeEngine) -> None:
        editor = await connect()
        editor.open("x = █\n")
        engine.hold()
        _, older = editor.ask()
        await engine.asked(1)
        _, newer = editor.ask()
        assert await code_of(older) == CANCELLED
        await engine.asked(2)
        assert engine.cancelled == engine.requests[:1]
        engine.release()
        assert (await newer)["items"]

    async def test_another_documents_request_does_not(self, connect: Connect, engine: FakeEngine) -> None:
        editor = await connect()
        engine.hold()
        editor.open("one = █\n", "file:///one.py")
        _, one = editor.ask("file:///one.py")
        editor.open("two = █\n", "file:///two.py")
        _, two = editor.ask("file:///two.py")
        await engine.asked(2)
        engine.release()
        assert (await one)["items"]
        assert (await two)["items"]

    async def test_the_client_cancels(self, connect: Connect, engine: FakeEngine) -> None:
        editor = await connect()
        editor.open("x = █\n")
        engine.hold()
        request_id, answer = editor.ask()
        await engine.asked()
        editor.notify("$/cancelRequest", {"id": request_id})
        assert await code_of(answer) == CANCELLED
        await engine.gave_up()

    async def test_the_client_cancels_before_the_engine_was_asked(self, connect: Connect, engine: FakeEngine) -> None:
        editor = await connect(initializationOptions={"debounce_ms": 2000})
        editor.open("x = █\n")
        request_id, answer = editor.ask(trigger=AUTOMATIC)
        editor.notify("$/cancelRequest", {"id": request_id})
        assert await code_of(answer) == CANCELLED
        assert engine.requests == []

    async def test_the_document_is_closed(self, connect: Connect, engine: FakeEngine) -> None:
        editor = await connect()
        editor.open("x = █\n")
        engine.hold()
        _, answer = editor.ask()
        await engine.asked()
        editor.notify("textDocument/didClose", {"textDocument": {"uri": URI}})
        assert await code_of(answer) == CANCELLED
        await engine.gave_up()

    async def test_the_text_moved_on(self, connect: Connect, engine: FakeEngine) -> None:
        editor = await connect()
        editor.open("x = █\n")
        engine.hold()
        _, answer = editor.ask()
        await engine.asked()
        editor.type("y")
        await editor.settled()
        engine.release()
        assert await code_of(answer) == CANCELLED
        assert await editor.texts() == ["answer"]


class TestPlaces:
    @pytest.mark.parametrize("name", ENCODINGS)
    @pytest.mark.parametrize("eol", ["\n", "\r\n"])
    @pytest.mark.parametrize("before", ["naïve = 1", "漢字 = '😀'", "x = '🧑\u200d💻' + '\u0301'", "\tx = 1"])
    async def test_characters_of_any_width(
        self, connect: Connect, engine: FakeEngine, name: str, eol: str, before: str
    ) -> None:
        editor = await connect("Neovim", capabilities=encoding(name))
        editor.open(f"# 😀 first{eol}{before} + █){eol}# last 😀{eol}")
        editor.type("é")
        editor.type("😀b")
        (item,) = (await editor.complete())["items"]
        (request,) = engine.requests
        assert request.prefix == f"# 😀 first\n{before} + é😀b"
        assert request.suffix == ")\n# last 😀\n"
        assert item["range"] == {"start": editor.cursor, "end": editor.cursor}

    @pytest.mark.parametrize("name", ENCODINGS)
    async def test_an_edit_over_several_lines(self, connect: Connect, engine: FakeEngine, name: str) -> None:
        editor = await connect(capabilities=encoding(name))
        editor.open("a = '😀' + b\r\nc = 1\r\nd = '😀'\r\n")
        start, end = editor.width("a = '😀' + "), editor.width("d = '")
        editor.edit("z\n'", (0, start), (2, end))
        await editor.complete(position={"line": 1, "character": editor.width("'😀")})
        assert engine.requests[0].prefix == "a = '😀' + z\n'😀"
        assert engine.requests[0].suffix == "'\n"

    @pytest.mark.parametrize("name", ["utf-8", "utf-16"])
    async def test_the_middle_of_a_character_is_its_start(
        self, connect: Connect, engine: FakeEngine, name: str
    ) -> None:
        editor = await connect(capabilities=encoding(name))
        editor.open("x = '😀'\n")
        (item,) = (await editor.complete(position={"line": 0, "character": 6}))["items"]
        assert engine.requests[0].prefix == "x = '"
        assert item["range"]["start"] == {"line": 0, "character": 5}

    @pytest.mark.parametrize(
        ("asked", "meant"),
        [
            ({"line": 0, "character": 999}, {"line": 0, "character": 5}),
            ({"line": 999, "character": 0}, {"line": 1, "character": 2}),
            ({"line": 999, "character": 999}, {"line": 1, "character": 2}),
            ({"line": 2**31 - 1, "character": 2**31 - 1}, {"line": 1, "character": 2}),
        ],
    )
    @pytest.mark.parametrize("client", ["Neovim", "Visual Studio Code"])
    async def test_a_place_outside_the_text_is_the_nearest_inside(
        self, connect: Connect, asked: dict[str, int], meant: dict[str, int], client: str
    ) -> None:
        editor = await connect(client)
        editor.open("x = 1\ny ")
        (item,) = (await editor.complete(position=asked))["items"]
        assert item["range"]["end"] == meant


class TestClients:
    async def test_neovim_gets_an_empty_range_at_the_cursor(self, connect: Connect) -> None:
        editor = await connect("Neovim")
        editor.open("    print(█)\n")
        (item,) = (await editor.complete())["items"]
        assert item["insertText"] == "answer"
        assert item["range"]["start"] == item["range"]["end"] == editor.cursor

    @pytest.mark.parametrize("name", ["Visual Studio Code", "VSCodium", "Visual Studio Code - Insiders"])
    async def test_vs_code_gets_a_range_from_the_lines_start(self, connect: Connect, name: str) -> None:
        editor = await connect(name)
        editor.open("    print(😀█)\n")
        (item,) = (await editor.complete())["items"]
        assert item["insertText"] == "    print(😀answer"
        assert item["range"] == {
            "start": {"line": 0, "character": 0},
            "end": {"line": 0, "character": 12},
        }

    @pytest.mark.parametrize(
        ("client", "text"),
        [
            ("Neovim", "a = 1\n    b = 2"),
            ("emacs", "a = 1\n    b = 2"),
            ("Visual Studio Code", "    a = 1\r\n    b = 2"),
            ("another editor", "a = 1\r\n    b = 2"),
        ],
    )
    async def test_windows_line_ends(self, connect: Connect, engine: FakeEngine, client: str, text: str) -> None:
        editor = await connect(client)
        editor.open("def f():\r\n    █\r\n")
        engine.answer = "a = 1\n    b = 2"
        assert await editor.texts() == [text]

    async def test_a_client_without_a_name(self, connect: Connect) -> None:
        editor = await connect(clientInfo=None)
        editor.open("x = █\n")
        assert await editor.texts() == ["answer"]


class TestLanguageClient9:
    """vscode-languageclient 9 counts trigger kinds from 0 and writes ranges as arrays."""

    def context(self, trigger: int, **more: Any) -> dict[str, Any]:
        position = {"line": 0, "character": 4}
        return {
            "textDocument": {"uri": URI},
            "position": position,
            "context": {"triggerKind": trigger, **more},
        }

    @pytest.fixture
    def by_hand(self, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> list[float]:
        """How long each debounce waited."""
        waits: list[float] = []
        sleep = asyncio.sleep

        async def record(seconds: float) -> None:
            waits.append(seconds)
            await sleep(0)

        monkeypatch.setattr("codex_lsp.completer.asyncio.sleep", record)
        return waits

    async def test_its_invoked_is_not_debounced_and_its_automatic_is(
        self, connect: Connect, engine: FakeEngine, by_hand: list[float]
    ) -> None:
        editor = await connect("Visual Studio Code", initializationOptions={"debounce_ms": 123})
        editor.open("x = █\n")
        assert (await editor.call("textDocument/inlineCompletion", self.context(0)))["items"]
        assert by_hand == []
        editor.open("y = █\n")
        assert (await editor.call("textDocument/inlineCompletion", self.context(1)))["items"]
        assert by_hand == [0.123]

    async def test_a_range_that_is_an_array_tells_too(self, connect: Connect, by_hand: list[float]) -> None:
        editor = await connect("Visual Studio Code", initializationOptions={"debounce_ms": 123})
        editor.open("x = █\n")
        span = [{"line": 0, "character": 4}, {"line": 0, "character": 4}]
        asked = self.context(1, selectedCompletionInfo={"range": span, "text": "a"})
        assert (await editor.call("textDocument/inlineCompletion", asked))["items"]
        assert by_hand == [0.123]

    async def test_a_client_of_lsp_3_18_is_taken_at_its_word(self, connect: Connect, by_hand: list[float]) -> None:
        editor = await connect("Visual Studio Code", initializationOptions={"debounce_ms": 123})
        editor.open("x = █\n")
        span = {"start": {"line": 0, "character": 4}, "end": {"line": 0, "character": 4}}
        asked = self.context(1, selectedCompletionInfo={"range": span, "text": "a"})
        assert (await editor.call("textDocument/inlineCompletion", asked))["items"]
        assert by_hand == []
