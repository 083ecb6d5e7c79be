"""A connection from `initialize` to its end, and two of them beside each other."""

import asyncio
from typing import Any

import pytest

from tests.fakes_engine import FakeEngine
from tests.lsp.conftest import Connect, FakeControl
from tests.lsp.editor import CANCELLED, INVALID_PARAMS, INVALID_REQUEST, NEVER, URI, code_of


class TestInitialize:
    async def test_the_capabilities(self, connect: Connect) -> None:
        editor = await connect()
        capabilities = editor.capabilities
        assert capabilities["inlineCompletionProvider"] is not None
        assert capabilities["inlineCompletionProvider"] is not False
        assert capabilities["textDocumentSync"]["change"] == 2
        assert capabilities["textDocumentSync"]["openClose"] is True
        assert capabilities["executeCommandProvider"]["commands"] == ["codexLsp.accepted"]

    @pytest.mark.parametrize(
        ("offered", "chosen"),
        [
            (None, "utf-16"),
            (["utf-8", "utf-16"], "utf-8"),
            (["utf-32", "utf-8"], "utf-32"),
            (["utf-16"], "utf-16"),
            (["ebcdic"], "utf-16"),
        ],
    )
    async def test_the_position_encoding_is_the_clients_first_choice(
        self, connect: Connect, offered: list[str] | None, chosen: str
    ) -> None:
        general = {} if offered is None else {"positionEncodings": offered}
        editor = await connect(capabilities={"general": general})
        assert editor.capabilities["positionEncoding"] == chosen

    async def test_it_wakes_the_engine(self, connect: Connect, control: FakeControl) -> None:
        editor = await connect()
        await editor.settled()
        assert control.n_woken == 1


class TestBadMessages:
    @pytest.mark.parametrize(
        "params",
        [
            {"textDocument": {"uri": URI}, "position": {"line": -1, "character": 0}},
            {"textDocument": {"uri": URI}, "position": {"line": 0, "character": -7}},
            {"textDocument": {"uri": URI}, "position": {"line": "0", "character": []}},
            {"textDocument": {"uri": URI}, "context": {"triggerKind": 1}},
            {"textDocument": {}, "position": {"line": 0, "character": 0}, "context": {"triggerKind": 1}},
            {
                "textDocument": {"uri": URI},
                "position": {"line": 0, "character": 0},
                "context": {"triggerKind": 9},
            },
            {},
            [],
            None,
            "surprise",
            7,
        ],
    )
    async def test_bad_parameters_are_answered_and_the_next_key_is_too(self, connect: Connect, params: Any) -> None:
        editor = await connect()
        editor.open("x = █")
        _, answer = editor.request("textDocument/inlineCompletion", params)
        assert await code_of(answer) == INVALID_PARAMS
        assert await editor.texts() == ["answer"]

    @pytest.mark.parametrize("body", [b"{", b"\xff\xfe", b"[]", b"7", b'{"jsonrpc": "2.0"}', b"{}", b"null"])
    async def test_a_message_that_is_none_is_survived(self, connect: Connect, body: bytes) -> None:
        editor = await connect()
        editor.open("x = █")
        editor.send_bytes(body)
        assert await editor.texts() == ["answer"]

    @pytest.mark.parametrize(
        ("method", "params"),
        [
            ("textDocument/didChange", {"textDocument": {"uri": URI}}),
            ("textDocument/didChange", {"textDocument": {"uri": "file:///never", "version": 1}, "contentChanges": []}),
            ("textDocument/didClose", {"textDocument": {"uri": "file:///never"}}),
            ("textDocument/didOpen", None),
            ("workspace/didChangeConfiguration", {"settings": None}),
            ("workspace/didChangeConfiguration", {"settings": [1]}),
            ("workspace/didChangeConfiguration", {"settings": {"codex_lsp": [1]}}),
            ("workspace/didChangeConfiguration", {"settings": {"codex_lsp": None}}),
            ("textDocument/didSave", {"textDocument": {"uri": URI}}),
            ("$/cancelRequest", {"id": 4711}),
            ("$/setTrace", {"value": "verbose"}),
            ("$/unheardOf", {}),
        ],
    )  # fmt: skip
    async def test_odd_notifications_are_survived(self, connect: Connect, method: str, params: Any) -> None:
        editor = await connect()
        editor.open("x = █")
        editor.notify(method, params)
        assert await editor.texts() == ["answer"]

    @pytest.mark.parametrize("options", [7, "text", [1], {"codex_lsp": 5}, {"codex_lsp": None}, None])
    async def test_odd_options_are_survived(self, connect: Connect, options: Any) -> None:
        editor = await connect(initializationOptions=options)
        editor.open("x = █")
        assert await editor.texts() == ["answer"]

    async def test_an_unknown_request_is_refused(self, connect: Connect) -> None:
        editor = await connect()
        assert await code_of(editor.call("textDocument/unheardOf", {})) == -32601


class TestEnd:
    async def test_exit_in_one_editor_leaves_the_other(self, connect: Connect, engine: FakeEngine) -> None:
        one, other = await connect(), await connect()
        other.open("x = █")
        await one.call("shutdown")
        one.notify("exit")
        await one.closed()
        assert await other.texts() == ["answer"]

    async def test_after_shutdown_requests_are_refused(self, connect: Connect) -> None:
        editor = await connect()
        editor.open("x = █")
        await editor.call("shutdown")
        assert await code_of(editor.complete()) == INVALID_REQUEST

    async def test_shutdown_cancels_what_runs(self, connect: Connect, engine: FakeEngine) -> None:
        editor = await connect()
        editor.open("x = █")
        engine.hold()
        _, answer = editor.ask()
        await engine.asked()
        await editor.call("shutdown")
        assert await code_of(answer) == CANCELLED
        await engine.gave_up()

    async def test_a_dropped_connection_frees_the_engine(self, connect: Connect, engine: FakeEngine) -> None:
        editor = await connect()
        editor.open("x = █")
        engine.hold()
        editor.ask()
        await engine.asked()
        await editor.disconnect()
        await engine.gave_up()

    async def test_a_connection_dropped_before_it_answered_for_its_settings(self, connect: Connect) -> None:
        editor = await connect(
            answers={"workspace/configuration": NEVER}, capabilities={"workspace": {"configuration": True}}
        )
        await editor.heard("workspace/configuration")
        await editor.disconnect()

    async def test_the_other_editors_document_is_another(self, connect: Connect, engine: FakeEngine) -> None:
        one, other = await connect(), await connect()
        one.open("one = █")
        other.open("other = █")
        assert await one.texts() == await other.texts() == ["answer"]
        assert [request.prefix for request in engine.requests] == ["one = ", "other = "]


async def test_accepting_is_counted(connect: Connect, control: FakeControl) -> None:
    editor = await connect()
    editor.open("x = █")
    (item,) = (await editor.complete())["items"]
    command = item["command"]
    assert command["command"] == "codexLsp.accepted"
    await editor.call("workspace/executeCommand", {"command": command["command"], "arguments": command["arguments"]})
    await editor.call("workspace/executeCommand", {"command": "codexLsp.accepted"})
    assert control.n_accepted == 2


async def test_why_there_was_none_can_be_asked(connect: Connect, engine: FakeEngine) -> None:
    editor = await connect()
    editor.open("print(█)")
    engine.answer = ")"
    assert await editor.texts() == []
    record = await editor.call("codexLsp/lastRequest", {"uri": URI})
    assert record["refusal"] == "nothing"
    assert record["reason"]
    assert await editor.call("codexLsp/lastRequest", {"uri": "file:///never"}) is None


async def test_500_keys_at_full_speed_with_cancels(connect: Connect, engine: FakeEngine) -> None:
    editor = await connect()
    editor.open("x = █")
    asked = []
    for n in range(500):
        editor.type("abcdefghij "[n % 11])
        request_id, answer = editor.ask(trigger=2)
        asked.append(answer)
        if n % 3 == 0:
            editor.notify("$/cancelRequest", {"id": request_id})
        if n % 50 == 0:
            await asyncio.sleep(0.001)
    editor.type("=")
    last = await editor.complete(trigger=2)
    assert [item["insertText"] for item in last["items"]] == ["answer"]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert {getattr(answer, "code", None) for answer in answers} <= {CANCELLED, None}
    assert engine.requests[-1].prefix.endswith("=")


async def test_a_document_of_20_000_lines_is_typed_in_quickly(connect: Connect, engine: FakeEngine) -> None:
    editor = await connect()
    editor.open("value = compute(1, 2, 3)\n" * 10_000 + "x = █\n" + "value = compute(1, 2, 3)\n" * 10_000)
    await editor.settled()
    loop = asyncio.get_running_loop()
    began = loop.time()
    for _ in range(50):
        editor.type("a")
    await editor.settled()
    assert (loop.time() - began) / 50 < 0.01
