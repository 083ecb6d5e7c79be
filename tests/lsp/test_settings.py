"""Settings as an editor meets them: where they come from, when they hold, and who is told what is wrong."""

from pathlib import Path
from typing import Any

import pytest

from tests.fakes_engine import FakeEngine
from tests.lsp.conftest import Connect
from tests.lsp.editor import NEVER, Editor

SHOWN = "window/showMessage"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "project").mkdir()
    return tmp_path / "project"


async def n_predict(editor: Editor, engine: FakeEngine, text: str = "x") -> int:
    """What a key asks the engine for."""
    editor.type(text)
    await editor.complete()
    return engine.requests[-1].n_predict


def write(file: Path, text: str) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)


def settings(**values: object) -> dict[str, Any]:
    return {"settings": {"codex_lsp": values}}


class TestEditorOptions:
    @pytest.mark.parametrize("options", [{"max_tokens": 7}, {"maxTokens": 7}, {"codex_lsp": {"max_tokens": 7}}])
    async def test_from_initialize(self, connect: Connect, engine: FakeEngine, options: dict[str, Any]) -> None:
        editor = await connect(initializationOptions=options)
        editor.open("x = █\n")
        assert await n_predict(editor, engine) == 7

    async def test_sent_later(self, connect: Connect, engine: FakeEngine) -> None:
        editor = await connect(initializationOptions={"max_tokens": 7})
        editor.open("x = █\n")
        editor.notify("workspace/didChangeConfiguration", settings(max_tokens=9))
        assert await n_predict(editor, engine) == 9
        editor.notify("workspace/didChangeConfiguration", {"settings": {"codex_lsp": None}})
        assert await n_predict(editor, engine, "y") == 64

    async def test_a_client_that_can_answer_is_asked(self, connect: Connect, engine: FakeEngine) -> None:
        editor = await connect(
            answers={"workspace/configuration": [{"maxTokens": 11}]},
            capabilities={"workspace": {"configuration": True}},
        )
        editor.open("x = █\n")
        assert await editor.heard("workspace/configuration") == [{"items": [{"section": "codex_lsp"}]}]
        await editor.settled()
        assert await n_predict(editor, engine) == 11
        editor.answers["workspace/configuration"] = [{"maxTokens": 12}]
        editor.notify("workspace/didChangeConfiguration", {"settings": None})
        await editor.heard("workspace/configuration", 2)
        await editor.settled()
        assert await n_predict(editor, engine, "y") == 12

    @pytest.mark.parametrize("answer", [None, [], [None], ["odd"], NEVER, RuntimeError("not here")])
    async def test_what_such_a_client_leaves_open_stays_as_it_was(
        self, connect: Connect, engine: FakeEngine, answer: Any
    ) -> None:
        editor = await connect(
            answers={"workspace/configuration": answer},
            capabilities={"workspace": {"configuration": True}},
            initializationOptions={"max_tokens": 7},
        )
        editor.open("x = █\n")
        await editor.heard("workspace/configuration")
        await editor.settled()
        assert await n_predict(editor, engine) == 7

    async def test_other_clients_are_not_asked(self, connect: Connect) -> None:
        editor = await connect()
        await editor.settled()
        assert editor.said("workspace/configuration") == []


class TestSwitchedOff:
    async def test_everywhere(self, connect: Connect, engine: FakeEngine) -> None:
        editor = await connect(initializationOptions={"enabled": False})
        editor.open("x = █\n")
        assert await editor.complete() == {"items": []}
        assert engine.requests == []

    async def test_for_a_language(self, connect: Connect, engine: FakeEngine) -> None:
        editor = await connect(initializationOptions={"languages": {"markdown": False}})
        editor.open("# Title █\n", "file:///a.md", "markdown")
        assert await editor.complete("file:///a.md") == {"items": []}
        editor.open("x = █\n")
        assert await editor.texts() == ["answer"]

    async def test_for_files_below_the_project(self, connect: Connect, engine: FakeEngine, project: Path) -> None:
        (project / ".codex-lsp.toml").write_text('exclude = ["/data/"]')
        editor = await connect(root=project)
        for name, answers in (("data/a.py", []), ("src/data/a.py", ["answer"]), (".env", [])):
            uri = (project / name).as_uri()
            editor.open("x = █\n", uri)
            assert await editor.texts(uri) == answers

    @pytest.mark.parametrize("path", ["/home/me/.ssh/config", "/home/me/.docker/config.json", "/home/me/.env"])
    async def test_for_secrets_opened_without_a_project(self, connect: Connect, engine: FakeEngine, path: str) -> None:
        editor = await connect()
        editor.open("x = █\n", f"file://{path}")
        assert await editor.complete(f"file://{path}") == {"items": []}
        assert engine.requests == []


class TestFiles:
    async def test_a_project_file_is_followed_without_a_restart(
        self, connect: Connect, engine: FakeEngine, project: Path
    ) -> None:
        editor = await connect(root=project)
        uri = (project / "a.py").as_uri()
        editor.open("x = █\n", uri)
        asked = []
        for content in (None, "max_tokens = 5", "max_tokens = 6  # more"):
            if content is not None:
                (project / ".codex-lsp.toml").write_text(content)
            editor.type("x", uri)
            await editor.complete(uri)
            asked.append(engine.requests[-1].n_predict)
        assert asked == [64, 5, 6]

    async def test_each_folder_of_a_workspace_has_its_own(
        self, connect: Connect, engine: FakeEngine, tmp_path: Path
    ) -> None:
        folders = []
        for name, tokens in (("one", 5), ("two", 6)):
            (tmp_path / name).mkdir()
            (tmp_path / name / ".codex-lsp.toml").write_text(f"max_tokens = {tokens}")
            folders.append({"uri": (tmp_path / name).as_uri(), "name": name})
        editor = await connect(workspaceFolders=folders)
        for name in ("one", "two"):
            uri = (tmp_path / name / "a.py").as_uri()
            editor.open(f"{name} = █\n", uri)
            await editor.complete(uri)
        assert [request.n_predict for request in engine.requests] == [5, 6]

    async def test_a_bad_value_is_told_once_with_file_and_line(
        self, connect: Connect, engine: FakeEngine, user_file: Path
    ) -> None:
        write(user_file, '# mine\nmax_tokens = 7\ndebounce_ms = "soon"\n')
        editor = await connect()
        editor.open("x = █\n")
        assert await n_predict(editor, engine) == 7
        await n_predict(editor, engine, "y")
        (told,) = editor.said(SHOWN)
        assert f"{user_file}:3" in told["message"]
        assert "debounce_ms" in told["message"]
        write(user_file, '# mine\nmax_tokens = 7\n\ndebounce_ms = "late"\n')
        await n_predict(editor, engine, "z")
        assert f"{user_file}:4" in editor.said(SHOWN)[1]["message"]

    async def test_a_project_may_not_name_a_model(self, connect: Connect, engine: FakeEngine, project: Path) -> None:
        (project / ".codex-lsp.toml").write_text('model = "/tmp/evil.gguf"')
        editor = await connect(root=project)
        uri = (project / "a.py").as_uri()
        editor.open("x = █\n", uri)
        assert await editor.texts(uri) == ["answer"]
        (told,) = editor.said(SHOWN)
        assert ".codex-lsp.toml:1" in told["message"]
