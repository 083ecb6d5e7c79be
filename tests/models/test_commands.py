import argparse
import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from codex_lsp import paths
from codex_lsp.models import commands, hardware
from codex_lsp.models.catalogue import CatalogueModel
from codex_lsp.models.hardware import GIB, Machine
from codex_lsp.models.progress import ProgressBar
from tests.models.conftest import Server, gguf_bytes

CatalogueOf = Callable[..., CatalogueModel]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `codex-lsp model …`; the answer is exit code, standard output, standard error."""
    monkeypatch.setattr(hardware, "detect", lambda: Machine(24 * GIB, 20 * GIB, 2))
    parser = argparse.ArgumentParser()
    commands.add_parser(parser.add_subparsers(required=True))

    def run(*words: str) -> tuple[int, str, str]:
        arguments = parser.parse_args(["model", *words])
        code: int = arguments.run(arguments)
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "mine.gguf"
    path.write_bytes(gguf_bytes(values=4))
    return path


def test_list_shows_size_memory_licence_and_marks(run: Run, hub: Server, catalogue_of: CatalogueOf) -> None:
    catalogue_of(hub.content, commercial=False, licence_note="research only")
    assert "here" not in run("list")[1].splitlines()[1]
    run("pull", "tiny")
    run("use", "tiny")

    code, out, _ = run("list")

    assert code == 0
    assert re.split(r"\s{2,}", out.splitlines()[1]) == [
        *["*", "tiny", "2.0 MB", "1.0 MB", "MIT (not for commercial use)", "here"]
    ]


def test_list_for_programs(run: Run, hub: Server, catalogue_of: CatalogueOf) -> None:
    model = catalogue_of(hub.content)
    store_path = paths.models_dir() / "tiny.gguf"

    before = json.loads(run("list", "--json")[1])
    run("pull", "tiny")
    paths.models_dir().joinpath("extra.gguf").write_bytes(gguf_bytes(values=4))
    after = json.loads(run("list", "--json")[1])

    assert (before[0]["installed"], before[0]["current"]) == (None, False)
    assert (after[0]["name"], after[0]["size"], after[0]["fim"]) == ("tiny", model.size, "psm")
    assert after[0]["installed"] == str(store_path)
    assert after[-1]["name"] == "extra"


def test_pull_says_how_to_use_the_model(run: Run, hub: Server, catalogue_of: CatalogueOf) -> None:
    catalogue_of(hub.content)

    code, out, err = run("pull", "tiny")

    assert code == 0
    assert "tiny.gguf is ready: qwen2, 2.0 MB.\nTo use it: codex-lsp model use tiny\n" in out
    assert "prefix only" not in out.lower()
    assert "100%  2.0 MB of 2.0 MB" in err


def test_pull_warns_of_a_licence_before_the_download(run: Run, hub: Server, catalogue_of: CatalogueOf) -> None:
    catalogue_of(hub.content, commercial=False, licence="MNPL", licence_note="research only")

    _, _, err = run("pull", "tiny")

    assert err.splitlines()[0] == "Warning: no commercial use. tiny comes under MNPL: research only."


def test_pull_of_a_model_without_fim_tokens_says_prefix_only(run: Run, hub: Server) -> None:
    hub.content = gguf_bytes(tokens=())

    code, out, _ = run("pull", f"{hub.url}/chat.gguf")

    assert code == 0
    assert "Prefix only: its vocabulary has no fill-in-the-middle tokens" in out
    assert "codex-lsp model use chat-" in out


def test_pull_of_a_local_file_says_how_to_use_it_in_place(run: Run, mine: Path) -> None:
    code, out, _ = run("pull", str(mine))

    assert (code, out.splitlines()[-1]) == (0, f"To use it: codex-lsp model use {mine}")


def test_pull_that_fails_is_one_sentence_and_exit_code_1(run: Run) -> None:
    code, out, err = run("pull", "starcoder-3b")

    assert (code, out) == (1, "")
    assert err.startswith("codex-lsp: There is no model called 'starcoder-3b'. Did you mean starcoder2-3b")
    assert err.count("\n") == 1


def test_pull_stopped_by_ctrl_c_ends_like_a_shell_expects(
    run: Run, hub: Server, catalogue_of: CatalogueOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue_of(hub.content)

    def stop(*_arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ProgressBar, "__call__", stop)

    code, _, err = run("pull", "tiny")

    assert code == 130
    assert "codex-lsp: Stopped; 0.0 MB of the file are kept. Run the same command again to go on." in err


SETTINGS = """\
# my settings
debounce = 50  # quick

model = "old"  # the one I liked

[languages]
# no prose
markdown = false
"""


def test_use_keeps_comments_and_everything_else(run: Run, mine: Path) -> None:
    paths.config_file().parent.mkdir(parents=True)
    paths.config_file().write_text(SETTINGS)

    code, out, _ = run("use", str(mine))

    assert (code, out) == (0, f'{paths.config_file()} now says: model = "{mine}"\n')
    assert paths.config_file().read_text() == SETTINGS.replace('"old"', f'"{mine}"')


def test_use_writes_a_top_level_key_also_where_tables_come_first(run: Run, mine: Path) -> None:
    paths.config_file().parent.mkdir(parents=True)
    paths.config_file().write_text("[languages]\nmarkdown = false\n")

    run("use", str(mine))

    assert tomllib.loads(paths.config_file().read_text()) == {
        "model": str(mine),
        "languages": {"markdown": False},
    }


def test_use_makes_the_file_where_there_is_none(run: Run, mine: Path) -> None:
    run("use", str(mine))

    assert tomllib.loads(paths.config_file().read_text()) == {"model": str(mine)}


def test_use_of_a_model_that_is_not_here_changes_nothing(run: Run) -> None:
    code, _, err = run("use", "starcoder2-3b")

    assert (code, paths.config_file().exists()) == (1, False)
    assert err == "codex-lsp: The model starcoder2-3b is not here yet. Run: codex-lsp model pull starcoder2-3b\n"


def test_a_broken_settings_file_is_left_alone(run: Run, mine: Path) -> None:
    paths.config_file().parent.mkdir(parents=True)
    paths.config_file().write_text("model = \n")

    for words in (("use", str(mine)), ("path",), ("list",)):
        code, _, err = run(*words)
        assert (code, "is not valid TOML" in err) == (1, True)
    assert paths.config_file().read_text() == "model = \n"


def test_path_prints_the_model_in_use_or_the_named_one(
    run: Run, hub: Server, catalogue_of: CatalogueOf, mine: Path
) -> None:
    catalogue_of(hub.content)
    run("pull", "tiny")
    run("use", str(mine))

    assert run("path")[1] == f"{mine}\n"
    assert run("path", "tiny")[1] == f"{paths.models_dir() / 'tiny.gguf'}\n"


def test_path_without_any_model_names_the_command(run: Run) -> None:
    code, out, err = run("path")

    assert (code, out) == (1, "")
    assert err.endswith("Run: codex-lsp model pull qwen2.5-coder-0.5b-instruct\n")


def test_rm_deletes_and_reminds_of_the_setting(run: Run, hub: Server, catalogue_of: CatalogueOf) -> None:
    catalogue_of(hub.content)
    run("pull", "tiny")
    run("use", "tiny")

    code, out, _ = run("rm", "tiny")

    assert code == 0
    assert "tiny.gguf is removed.\nYour settings still name it." in out
    assert run("rm", "tiny")[0] == 1
