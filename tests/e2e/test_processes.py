"""Proxies, a daemon and an engine as processes: who shares what, and what happens when one of them dies."""

import asyncio
import itertools
import os
import shutil
import signal
import time
from pathlib import Path

import psutil
import pytest

from tests.e2e.conftest import Home, Proxy, Start, kill, wait_for_end
from tests.lsp.editor import AUTOMATIC, CANCELLED

_numbers = itertools.count()


def fresh() -> str:
    """A text that no test has asked about before: the cache on disk outlives a daemon."""
    return f"import os\nx_{next(_numbers)} = █"


def mode(path: str | Path) -> int:
    """Who may do what with a file."""
    return Path(path).stat().st_mode & 0o777


class TestSharing:
    async def test_two_editors_share_a_daemon_and_an_engine(self, shared_home: Home, start: Start) -> None:
        one, other = await start(shared_home, "one"), await start(shared_home, "other")
        for editor in (one, other):
            editor.open(fresh())
            assert await editor.texts()
        status = shared_home.status()
        assert sorted(status["connections"]) == ["one", "other"]
        children = psutil.Process(status["pid"]).children()
        assert [child.pid for child in children] == [status["engine"]["pid"]]

    async def test_exit_in_one_leaves_the_other(self, shared_home: Home, start: Start) -> None:
        one, other = await start(shared_home), await start(shared_home)
        await one.call("shutdown")
        one.notify("exit")
        assert await one.ended() == (0, "")
        other.open(fresh())
        assert await other.texts()

    async def test_editors_opened_at_the_same_moment_start_one_daemon(self, cold_home: Home, start: Start) -> None:
        editors = await asyncio.gather(*(start(cold_home) for _ in range(4)))
        pids = {(await editor.call("codexLsp/status", {}))["pid"] for editor in editors}
        assert len(pids) == 1
        assert cold_home.log().count(" serves on ") == 1
        assert "another daemon" not in cold_home.log()


class TestEnds:
    async def test_an_editor_that_closes_the_pipe(self, shared_home: Home, start: Start) -> None:
        editor = await start(shared_home)
        editor.close_input()
        assert await editor.ended() == (0, "")

    async def test_an_editor_that_is_killed_is_forgotten(self, shared_home: Home, start: Start) -> None:
        editor, other = await start(shared_home, "killed"), await start(shared_home)
        editor.process.kill()
        await editor.ended()
        async with asyncio.timeout(10):
            while "killed" in (await other.call("codexLsp/status", {}))["connections"]:
                pass  # each answer takes its time

    async def test_a_daemon_that_is_stopped_tells_the_editor(self, shared_home: Home, start: Start) -> None:
        editor = await start(shared_home)
        assert shared_home.run("daemon", "stop").returncode == 0
        code, said = await editor.ended()
        assert code == 75
        assert "codex-lsp daemon logs" in said

    async def test_a_start_that_fails_says_why(self, cold_home: Home, start: Start) -> None:
        (cold_home.path / "run").write_text("a file in the way")
        editor = await start(cold_home, initialize=False)
        code, said = await editor.ended()
        assert code == 69
        assert str(cold_home.path / "run") in said


class TestKilled:
    async def test_the_engine_under_a_request(self, shared_home: Home, start: Start) -> None:
        editor = await start(shared_home)
        editor.open(fresh())
        assert await editor.texts()
        engine = (await editor.call("codexLsp/status", {}))["engine"]
        os.kill(engine["pid"], signal.SIGSTOP)  # so that the request is surely on its way when it dies
        editor.type("compute(")
        _, answer = editor.ask()
        await editor.call("codexLsp/status", {})
        kill(engine["pid"])
        (outcome,) = tuple(await asyncio.gather(answer, return_exceptions=True))
        assert outcome == {"items": []} or getattr(outcome, "code", None) == CANCELLED
        editor.type("a")
        assert await editor.texts()
        again = (await editor.call("codexLsp/status", {}))["engine"]
        assert again["pid"] != engine["pid"]
        assert again["restarts"] == engine["restarts"] + 1

    async def test_the_daemon_under_a_request(self, shared_home: Home, start: Start) -> None:
        editor = await start(shared_home)
        editor.open(fresh())
        assert await editor.texts()
        status = await editor.call("codexLsp/status", {})
        engine = psutil.Process(status["engine"]["pid"])
        os.kill(engine.pid, signal.SIGSTOP)
        editor.type("compute(")
        editor.ask()
        await editor.call("codexLsp/status", {})
        kill(status["pid"])
        code, said = await editor.ended()
        assert code == 75
        assert "Restart the server" in said

        os.kill(engine.pid, signal.SIGCONT)
        assert mode(status["socket"])  # stale: nobody was there to remove it
        editor = await start(shared_home)
        editor.open(fresh())
        assert await editor.texts()
        assert (await editor.call("codexLsp/status", {}))["pid"] != status["pid"]
        await asyncio.to_thread(wait_for_end, engine.pid)


class TestPrivacy:
    async def test_only_the_user_reaches_the_socket(self, shared_home: Home, start: Start) -> None:
        editor = await start(shared_home)
        socket = (await editor.call("codexLsp/status", {}))["socket"]
        assert socket.startswith(f"{shared_home.path}/run/")
        assert mode(socket) == 0o600
        assert mode(shared_home.path / "run") == 0o700

    async def test_a_folder_of_somebody_else_is_refused(self, cold_home: Home, start: Start) -> None:
        run = cold_home.path / "run"
        run.mkdir()
        try:
            os.chown(run, 65534, 65534)
        except PermissionError:
            pytest.skip("only root can give a folder to somebody else")
        editor = await start(cold_home, initialize=False)
        code, said = await editor.ended()
        assert code == 69
        assert "not this user's own folder" in said

    async def test_a_folder_that_all_may_enter_is_closed(self, cold_home: Home, start: Start) -> None:
        run = cold_home.path / "run"
        run.mkdir()
        run.chmod(0o777)
        await start(cold_home)
        assert mode(run) == 0o700


class TestCost:
    async def test_memory(self, shared_home: Home, start: Start) -> None:
        editor = await start(shared_home)
        editor.open("value = compute(1, 2)\n" * 20_000 + fresh())
        for key in "compute(1, 2, 3)":
            editor.type(key)
            await editor.complete()
        status = await editor.call("codexLsp/status", {})
        assert psutil.Process(editor.process.pid).memory_info().rss < 15e6
        assert psutil.Process(status["pid"]).memory_info().rss < 90e6

    async def test_a_key_costs_what_was_typed_and_not_the_window(self, shared_home: Home, start: Start) -> None:
        editor = await start(shared_home)
        editor.open("value = compute(1, 2)\n" * 60 + "█\nprint(value)\n" * 3)
        await editor.complete()
        before = (await editor.call("codexLsp/status", {}))["requests"]
        keys = "total = compare(value, other_value)"
        for key in keys:
            editor.type(key)
            await editor.complete()
        after = (await editor.call("codexLsp/status", {}))["requests"]
        n_asked = after["from_engine"] - before["from_engine"]
        assert n_asked > len(keys) / 2
        assert (after["tokens_prefilled"] - before["tokens_prefilled"]) / n_asked < 8

    async def test_500_keys_with_cancels(self, shared_home: Home, start: Start) -> None:
        editor = await start(shared_home)
        editor.open(fresh())
        answers = []
        for n in range(500):
            editor.type("abcdefghij "[n % 11])
            request_id, answer = editor.ask(trigger=AUTOMATIC)
            answers.append(answer)
            if n % 3 == 0:
                editor.notify("$/cancelRequest", {"id": request_id})
            if n % 10 == 0:
                await asyncio.sleep(0.001)
        editor.type("(")
        assert await editor.texts(trigger=AUTOMATIC)
        outcomes = await asyncio.gather(*answers, return_exceptions=True)
        assert {getattr(outcome, "code", None) for outcome in outcomes} <= {CANCELLED, None}

    async def test_a_second_editor_is_there_at_once(self, shared_home: Home, start: Start) -> None:
        await start(shared_home)
        began = time.perf_counter()
        await start(shared_home)
        assert time.perf_counter() - began < 2.0


class TestModels:
    async def test_without_one_there_is_one_message_and_the_first_one_is_taken_at_once(
        self, home_without_model: Home, start: Start, tiny_gguf: Path
    ) -> None:
        editor = await start(home_without_model)
        editor.open(fresh())
        assert await editor.complete() == {"items": []}
        (told,) = await editor.heard("window/showMessage")
        assert "codex-lsp model pull" in told["message"]
        home_without_model.use(tiny_gguf)
        await loaded(editor, tiny_gguf)
        assert len(editor.said("window/showMessage")) == 1

    async def test_another_one_in_the_settings_needs_no_restart(
        self, cold_home: Home, start: Start, tiny_gguf: Path
    ) -> None:
        editor = await start(cold_home)
        editor.open(fresh())
        assert await editor.texts()
        before = await editor.call("codexLsp/status", {})
        other = Path(shutil.copy(tiny_gguf, cold_home.path / "other.gguf"))
        cold_home.use(other)
        await loaded(editor, other)
        after = await editor.call("codexLsp/status", {})
        assert after["pid"] == before["pid"]
        await asyncio.to_thread(wait_for_end, before["engine"]["pid"])


async def loaded(editor: Proxy, model: Path) -> None:
    """Type on until the daemon has noticed a change of the settings and answers with this model."""
    async with asyncio.timeout(30):
        while True:
            editor.type("a")
            answered = await editor.texts()
            engine = (await editor.call("codexLsp/status", {}))["engine"]
            if answered and engine["model"] and engine["model"]["path"] == str(model):
                return
            await asyncio.sleep(0.05)
