"""`codex-lsp` with arguments, as a person or a script runs it."""

import json
from pathlib import Path

import pytest

from codex_lsp import __version__
from tests.e2e.conftest import Home

SOURCE = "import os\nx = \n"


@pytest.fixture
def file(shared_home: Home) -> str:
    (shared_home.path / "a.py").write_text(SOURCE)
    return "a.py"


class TestComplete:
    def test_it_prints_the_completion(self, shared_home: Home, file: str) -> None:
        ran = shared_home.run("complete", f"{file}:2:5")
        assert (ran.returncode, ran.stderr) == (0, "")
        assert ran.stdout.strip()

    def test_as_json_with_what_it_cost(self, shared_home: Home, file: str) -> None:
        (shared_home.path / file).write_text("import sys\ny = \n")
        ran = shared_home.run("complete", f"{file}:2:5", "--json")
        answer = json.loads(ran.stdout)
        assert (answer["file"], answer["line"], answer["column"]) == (file, 2, 5)
        assert answer["completion"]
        assert answer["source"] == "engine"
        engine = answer["engine"]
        assert engine["n_reused"] + engine["n_prefilled"] == engine["n_prompt"]
        again = json.loads(shared_home.run("complete", f"{file}:2:5", "--json").stdout)
        assert again["completion"] == answer["completion"]

    def test_from_standard_input_it_is_the_same(self, shared_home: Home, file: str) -> None:
        of_file = shared_home.run("complete", f"{file}:2:5")
        piped = shared_home.run("complete", "-:2:5", "--language", "python", stdin=SOURCE)
        assert piped.stdout == of_file.stdout != ""

    @pytest.mark.parametrize(
        ("arguments", "code", "said"),
        [
            (["a.py"], 2, "FILE:LINE:COL"),
            (["a.py:2"], 2, "FILE:LINE:COL"),
            (["a.py:two:5"], 2, "FILE:LINE:COL"),
            (["a.py:0:5"], 2, "count from 1"),
            (["a.py:2:0"], 2, "count from 1"),
            (["-:1:1"], 2, "add `--language"),
            (["missing.py:1:1"], 1, "missing.py"),
            ([], 2, "usage"),
        ],
    )
    def test_a_mistake_is_named(self, shared_home: Home, file: str, arguments: list[str], code: int, said: str) -> None:
        ran = shared_home.run("complete", *arguments)
        assert ran.returncode == code
        assert said in ran.stderr
        assert ran.stdout == ""
        assert "Traceback" not in ran.stderr

    def test_nothing_to_suggest_says_why(self, shared_home: Home) -> None:
        (shared_home.path / ".env").write_text("KEY = ")
        ran = shared_home.run("complete", ".env:1:7")
        assert (ran.returncode, ran.stdout) == (0, "")
        assert "exclude" in ran.stderr

    def test_without_a_model_it_says_what_to_do(self, home_without_model: Home) -> None:
        (home_without_model.path / "a.py").write_text(SOURCE)
        ran = home_without_model.run("complete", "a.py:2:5")
        assert ran.returncode == 1
        assert "codex-lsp model pull" in ran.stderr


class TestDaemon:
    def test_start_status_restart_stop(self, cold_home: Home) -> None:
        ran = cold_home.run("daemon", "status")
        assert ran.returncode == 1
        assert "No daemon is running" in ran.stdout
        assert cold_home.status() == {"running": False}
        assert "No daemon was running" in cold_home.run("daemon", "stop").stdout

        assert cold_home.run("daemon", "start").returncode == 0
        status = cold_home.status()
        assert status["running"] is True
        assert status["version"] == __version__
        assert status["connections"] == []
        ran = cold_home.run("daemon", "start")
        assert str(status["pid"]) in ran.stdout

        assert cold_home.run("daemon", "restart").returncode == 0
        restarted = cold_home.status()
        assert restarted["pid"] != status["pid"]
        ran = cold_home.run("daemon", "status")
        assert ran.returncode == 0
        assert str(restarted["pid"]) in ran.stdout

        assert cold_home.run("daemon", "stop").returncode == 0
        assert cold_home.run("daemon", "status").returncode == 1
        assert not Path(restarted["socket"]).exists()

    def test_logs(self, shared_home: Home) -> None:
        shared_home.run("daemon", "start")
        ran = shared_home.run("daemon", "logs")
        assert ran.returncode == 0
        assert str(shared_home.path / "state/daemon.log") in ran.stdout
        assert " serves on " in shared_home.run("daemon", "logs", "-n", "10000").stdout

    def test_the_log_holds_no_source(self, shared_home: Home) -> None:
        name = "a_name_nobody_else_would_choose"
        ran = shared_home.run("complete", "-:1:37", "--language", "python", "--json", stdin=f"x = {name}(")
        assert json.loads(ran.stdout)["engine"]["n_decoded"] > 0
        assert name not in shared_home.run("daemon", "logs", "-n", "10000").stdout


def test_version(shared_home: Home) -> None:
    assert shared_home.run("--version").stdout.split() == ["codex-lsp", __version__]


def test_an_unknown_command_is_named(shared_home: Home) -> None:
    ran = shared_home.run("compleat")
    assert ran.returncode == 2
    assert "compleat" in ran.stderr
