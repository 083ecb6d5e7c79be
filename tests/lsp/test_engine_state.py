"""What an editor is shown of the engine's life: a progress bar while it loads, one message when it cannot."""

from dataclasses import replace
from typing import Any

import pytest

from codex_lsp.engine.request import EngineStatus, ModelUnusable
from tests.fakes_engine import INFO, READY, FakeEngine
from tests.lsp.conftest import Connect, FakeControl
from tests.lsp.editor import NEVER, Editor

CREATE, PROGRESS, SHOWN = "window/workDoneProgress/create", "$/progress", "window/showMessage"
WITH_PROGRESS = {"window": {"workDoneProgress": True}}
NO_MODEL = "There is no model yet. `codex-lsp model pull` fetches one."
FAILED = EngineStatus(state="failed", message=NO_MODEL)


def loading(progress: float) -> EngineStatus:
    return EngineStatus(state="loading", progress=progress)


async def kinds(editor: Editor, n: int) -> list[str]:
    return [params["value"]["kind"] for params in await editor.heard(PROGRESS, n)]


class TestProgress:
    async def test_a_bar_from_the_first_byte_to_the_last(
        self, connect: Connect, engine: FakeEngine, control: FakeControl
    ) -> None:
        engine.status = loading(0.0)
        editor = await connect(capabilities=WITH_PROGRESS)
        await editor.heard(PROGRESS, 2)
        control.change(loading(0.5))
        await editor.heard(PROGRESS, 3)
        control.change(READY)
        assert await kinds(editor, 4) == ["begin", "report", "report", "end"]
        (created,) = editor.said(CREATE)
        said = editor.said(PROGRESS)
        assert {params["token"] for params in said} == {created["token"]}
        assert said[0]["value"]["title"]
        assert [params["value"].get("percentage") for params in said] == [0, 0, 50, None]
        assert [message["method"] for message in editor.messages] == [CREATE] + [PROGRESS] * 4

    async def test_each_load_has_its_own_bar(self, connect: Connect, engine: FakeEngine, control: FakeControl) -> None:
        editor = await connect(capabilities=WITH_PROGRESS)
        await editor.settled()
        for n in (1, 2):
            control.change(loading(0.1))
            await editor.heard(PROGRESS, 3 * n - 1)
            control.change(READY)
            await editor.heard(PROGRESS, 3 * n)
            await editor.settled()
        tokens = [params["token"] for params in editor.said(CREATE)]
        assert len(set(tokens)) == 2

    async def test_a_bar_ends_when_the_load_fails(
        self, connect: Connect, engine: FakeEngine, control: FakeControl
    ) -> None:
        engine.status = loading(0.0)
        editor = await connect(capabilities=WITH_PROGRESS)
        await editor.heard(PROGRESS, 2)
        control.change(FAILED)
        assert (await kinds(editor, 3))[-1] == "end"

    async def test_no_bar_for_a_model_that_is_there(self, connect: Connect) -> None:
        editor = await connect(capabilities=WITH_PROGRESS)
        await editor.settled()
        assert editor.messages == []

    async def test_a_client_without_bars_sees_none(
        self, connect: Connect, engine: FakeEngine, control: FakeControl
    ) -> None:
        engine.status = loading(0.0)
        editor = await connect()
        control.change(loading(0.5))
        control.change(READY)
        await editor.settled()
        assert editor.messages == []

    @pytest.mark.parametrize("answer", [NEVER, RuntimeError("no bars today")])
    async def test_a_client_that_makes_none_in_the_end(
        self, connect: Connect, engine: FakeEngine, control: FakeControl, answer: Any
    ) -> None:
        engine.status = loading(0.0)
        editor = await connect(answers={CREATE: answer}, capabilities=WITH_PROGRESS)
        await editor.heard(CREATE)
        control.change(READY)
        editor.open("x = █")
        assert await editor.texts() == ["answer"]
        assert editor.said(PROGRESS) == []

    async def test_a_connection_that_goes_while_the_model_loads(
        self, connect: Connect, engine: FakeEngine, control: FakeControl
    ) -> None:
        engine.status = loading(0.0)
        editor = await connect(capabilities=WITH_PROGRESS)
        await editor.heard(PROGRESS)
        await editor.disconnect()


class TestMessages:
    async def test_no_model_is_told_once_with_what_to_do(
        self, connect: Connect, engine: FakeEngine, control: FakeControl
    ) -> None:
        engine.status = FAILED
        engine.answer = ModelUnusable(NO_MODEL)
        editor = await connect()
        editor.open("x = █")
        for key in "abc":
            editor.type(key)
            assert await editor.complete() == {"items": []}
        control.change(FAILED)
        await editor.settled()
        (told,) = editor.said(SHOWN)
        assert "codex-lsp model pull" in told["message"]

    async def test_each_editor_is_told(self, connect: Connect, engine: FakeEngine) -> None:
        engine.status = FAILED
        for _ in range(2):
            editor = await connect()
            assert len(await editor.heard(SHOWN)) == 1

    async def test_what_a_model_cannot_do_is_told_once(
        self, connect: Connect, engine: FakeEngine, control: FakeControl
    ) -> None:
        warned = replace(READY, info=replace(INFO, warnings=("This model knows no suffix.",)))
        editor = await connect()
        await editor.settled()
        control.change(warned)
        control.change(warned)
        await editor.settled()
        (told,) = editor.said(SHOWN)
        assert "knows no suffix" in told["message"]

    async def test_all_is_well_is_no_message(self, connect: Connect) -> None:
        editor = await connect()
        editor.open("x = █")
        await editor.complete()
        assert editor.messages == []
