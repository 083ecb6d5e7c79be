"""Settings: what each place may say, what is wrong with it, and how often that is said."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from codex_lsp import config
from codex_lsp.config import EDITOR, ConfigFiles, Layer, find_line, read_layer, resolve
from codex_lsp.settings import DEFAULTS, RULES, ProjectMay, Settings

USER = Path("/home/me/config.toml")
PROJECT = Path("/project/.codex-lsp.toml")


def resolved(
    user: dict[str, Any] | None = None,
    project: dict[str, Any] | None = None,
    editor: dict[str, Any] | None = None,
) -> tuple[Settings, list[str]]:
    layer = None if project is None else Layer(PROJECT, project)
    result, complaints = resolve(Layer(USER, user or {}), layer, editor)
    return result, [str(complaint) for complaint in complaints]


def test_without_any_file_the_defaults_hold() -> None:
    assert resolved() == (Settings(), [])


def test_a_later_place_wins() -> None:
    result, complaints = resolved(
        user={"debounce_ms": 10, "max_tokens": 100, "deadline_ms": 3000},
        project={"debounce_ms": 20, "max_tokens": 50},
        editor={"debounceMs": 30},
    )
    assert (result.debounce_ms, result.max_tokens, result.deadline_ms) == (30, 50, 3000)
    assert complaints == []


def test_a_bad_value_is_reported_and_the_default_holds() -> None:
    assert resolved(user={"enabled": "yes"}) == (
        DEFAULTS,
        [f"{USER}: `enabled` must be true or false, not 'yes'"],
    )


def test_a_bad_value_leaves_the_one_from_below() -> None:
    result, complaints = resolved(user={"max_tokens": 32}, editor={"maxTokens": "many"})
    assert result.max_tokens == 32
    assert complaints[0].startswith(f"{EDITOR}: `max_tokens`")


def test_a_bad_entry_leaves_its_neighbours() -> None:
    result, complaints = resolved(user={"exclude": ["*.csv", "[z-a]", "*.log"], "languages": {"go": False, "lua": 0}})
    assert result.excludes("a.csv")
    assert result.excludes("a.log")
    assert result.languages == {"go": False}
    assert len(complaints) == 2


def test_an_unknown_key_names_the_one_that_was_meant() -> None:
    _, complaints = resolved(user={"max_token": 3, "colour": "red"})
    assert "did you mean `max_tokens`?" in complaints[0]
    assert "docs/settings.md" in complaints[1]


@pytest.mark.parametrize("name", [n for n, rule in RULES.items() if rule.project_may is ProjectMay.NOTHING])
def test_what_is_shared_by_all_projects_is_set_in_the_users_file_only(name: str) -> None:
    # Any valid value other than the default shows whether the layer was heard.
    values = {"model": "other", "log_level": "debug"}
    value = values.get(name, RULES[name].minimum + 1)
    by_user, no_complaints = resolved(user={name: value})
    assert (getattr(by_user, name), no_complaints) == (value, [])
    for places in ({"project": {name: value}}, {"editor": {name: value}}):
        result, (complaint,) = resolved(**places)
        assert result == DEFAULTS
        assert f"`{name}` is honoured only from your own settings file {USER}" in complaint


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("enabled", False),
        ("max_tokens", 63),
        ("deadline_ms", 3999),
        ("context_tokens", 16384),
        ("debounce_ms", 2000),
        ("multi_line", "always"),
        ("languages", {"markdown": False, "python": True}),
    ],
)
def test_a_project_may_narrow(name: str, value: object) -> None:
    result, complaints = resolved(project={name: value})
    assert getattr(result, name) == value
    assert complaints == []


@pytest.mark.parametrize(
    ("name", "users", "projects"),
    [
        ("enabled", False, True),
        ("max_tokens", 32, 33),
        ("deadline_ms", 1000, 1001),
        ("context_tokens", 512, 513),
        ("context_tokens", 512, 0),
        ("languages", {"go": False}, {"go": True}),
        ("languages", {"*": False}, {"go": True}),
        ("languages", {"*": False}, {"*": True}),
    ],
)
def test_a_project_may_not_widen(name: str, users: object, projects: object) -> None:
    alone, _ = resolved(user={name: users})
    result, (complaint,) = resolved(user={name: users}, project={name: projects})
    assert result == alone
    assert complaint.startswith(f"{PROJECT}: `{name}` may only")


def test_a_project_may_name_the_only_languages_that_stay_on() -> None:
    result, complaints = resolved(project={"languages": {"*": False, "python": True}})
    assert result.language_enabled("python")
    assert not result.language_enabled("rust")
    assert complaints == []


def test_a_project_cannot_take_a_secret_out_of_the_exclusions() -> None:
    result, (complaint,) = resolved(project={"exclude": ["!.env", "data/"]})
    assert result.excludes(".env")
    assert result.excludes("data/x.py")
    assert "take out '!.env'" in complaint


def test_the_user_can() -> None:
    result, complaints = resolved(user={"exclude": ["!.npmrc"]})
    assert not result.excludes(".npmrc")
    assert result.excludes(".pypirc")
    assert complaints == []


def test_an_editor_sends_null_for_what_nobody_set() -> None:
    assert resolved(editor={"maxTokens": None}) == (DEFAULTS, [])


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        (("max_tokens",), 2),
        (("quoted",), 3),
        (("inline",), 7),
        (("tool", "codex-lsp"), 9),
        (("tool", "codex-lsp", "languages", "go"), 10),
        (("tool", "codex-lsp", "exclude"), 11),
        (("tool", "codex-lsp", "languages", "lua"), 16),
        (("inline", "hidden"), None),
        (("fake",), None),
    ],
)
def test_the_line_of_a_key_is_found(keys: tuple[str, ...], line: int | None) -> None:
    toml = '''# settings
max_tokens = 1
"quoted" = 2
text = """
fake = 1
"""
inline = { hidden = 1 }

[tool.codex-lsp] # ours
languages.go = false
exclude = [
  "a = b",
]

[ tool . codex-lsp . "languages" ]
'lua' = 0
'''
    assert find_line(toml, keys) == line


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def pass_recheck(self) -> None:
        self.now += config.RECHECK_SECONDS


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def files(tmp_path: Path, clock: Clock) -> ConfigFiles:
    (tmp_path / "project/.git").mkdir(parents=True)
    (tmp_path / "project/src").mkdir()
    return ConfigFiles(tmp_path / "user.toml", clock)


def messages(files: ConfigFiles) -> list[str]:
    return [str(complaint) for complaint in files.new_complaints()]


def test_files_that_are_not_there_are_nothing_to_complain_about(files: ConfigFiles, tmp_path: Path) -> None:
    assert files.settings_for(tmp_path / "project/src/a.py") == DEFAULTS
    assert files.settings_for(None) == DEFAULTS
    assert messages(files) == []


def test_the_nearest_project_file_counts_alone(files: ConfigFiles, tmp_path: Path) -> None:
    (tmp_path / ".codex-lsp.toml").write_text("debounce_ms = 1")
    (tmp_path / "project/.codex-lsp.toml").write_text("max_tokens = 10")
    (tmp_path / "project/pyproject.toml").write_text("[tool.codex-lsp]\nmax_tokens = 11")
    (tmp_path / "project/src/pyproject.toml").write_text("[tool.other]\nx = 1")
    result = files.settings_for(tmp_path / "project/src/a.py")
    assert (result.max_tokens, result.debounce_ms) == (10, DEFAULTS.debounce_ms)
    (tmp_path / "project/.codex-lsp.toml").unlink()
    outside = files.settings_for(tmp_path / "project/a.py")
    assert outside.max_tokens == 11


def test_the_search_stops_at_the_repository(files: ConfigFiles, tmp_path: Path) -> None:
    (tmp_path / ".codex-lsp.toml").write_text("max_tokens = 10")
    assert files.settings_for(tmp_path / "project/src/a.py") == DEFAULTS


def test_a_workspace_above_the_repository_is_searched_to_its_root(files: ConfigFiles, tmp_path: Path) -> None:
    (tmp_path / ".codex-lsp.toml").write_text("max_tokens = 10")
    assert files.settings_for(tmp_path / "project/src/a.py", root=tmp_path).max_tokens == 10
    assert files.settings_for(tmp_path / "project/src/a.py", root=tmp_path / "project/src") == DEFAULTS


def test_without_a_file_the_workspace_decides(files: ConfigFiles, tmp_path: Path) -> None:
    (tmp_path / "project/.codex-lsp.toml").write_text("max_tokens = 10")
    assert files.settings_for(None, root=tmp_path / "project").max_tokens == 10


def test_a_change_is_seen_without_a_restart(files: ConfigFiles, tmp_path: Path, clock: Clock) -> None:
    user = tmp_path / "user.toml"
    assert files.settings_for(None).max_tokens == 64
    for written in ("max_tokens = 10", "max_tokens = 11"):
        user.write_text(written)
        clock.pass_recheck()
        assert files.settings_for(None).max_tokens == int(written[-2:])
    user.unlink()
    clock.pass_recheck()
    assert files.settings_for(None).max_tokens == 64


def test_each_editor_has_its_own_options(files: ConfigFiles) -> None:
    assert files.settings_for(None, editor={"maxTokens": 1}).max_tokens == 1
    assert files.settings_for(None, editor={"maxTokens": 2}).max_tokens == 2
    assert files.settings_for(None).max_tokens == 64


def test_a_complaint_is_made_once_for_each_state_of_the_file(files: ConfigFiles, tmp_path: Path, clock: Clock) -> None:
    user = tmp_path / "user.toml"
    user.write_text("# mine\nmax_tokens = 0\n")
    files.settings_for(None)
    files.settings_for(None, editor={"maxTokens": 1})
    assert messages(files) == [f"{user}:2: `max_tokens` must be a whole number from 1 to 512, not 0"]
    clock.pass_recheck()
    files.settings_for(None)
    assert messages(files) == []
    user.write_text("# mine\nmax_tokens = 0\n# saved again\n")
    clock.pass_recheck()
    files.settings_for(None)
    assert len(messages(files)) == 1


def test_a_complaint_about_one_language_names_its_line(files: ConfigFiles, tmp_path: Path) -> None:
    project = tmp_path / "project/pyproject.toml"
    project.write_text("[tool.codex-lsp]\nmodel = '/bin/x'\n\n[tool.codex-lsp.languages]\ngo = 1\n")
    files.settings_for(tmp_path / "project/a.py")
    first, second = messages(files)
    assert first.startswith(f"{project}:2: `model` is honoured only")
    assert second.startswith(f"{project}:5: `languages` must be")


def make_folder(path: Path) -> None:
    path.mkdir()


def make_loop(path: Path) -> None:
    path.symlink_to(path)


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_large(path: Path) -> None:
    path.write_text("# comment\n" * 50_000)


UNUSABLE: list[tuple[str, Callable[[Path], Any]]] = [
    (": this is not a file", make_folder),
    (": this is not a file", make_pipe),
    (": this is not a file", make_loop),
    (": this is larger than 200,000 bytes", make_large),
    (":2: this is not UTF-8 text", lambda path: path.write_bytes(b"# fine\n# caf\xe9\n")),
    (":2: this is not TOML: ", lambda path: path.write_text("# fine\nmax_tokens 3\n")),
    (":3: this is not TOML: ", lambda path: path.write_text("# fine\n\nexclude = [")),
    (": this is not TOML: ", lambda path: path.write_text("exclude = " + "[" * 100_000)),
]


@pytest.mark.parametrize(("problem", "make"), UNUSABLE, ids=[f"{make.__name__}{problem}" for problem, make in UNUSABLE])
@pytest.mark.parametrize("name", ["user.toml", "project/.codex-lsp.toml"])
def test_a_file_that_cannot_be_used_costs_one_complaint(
    problem: str, make: Callable[[Path], Any], name: str, files: ConfigFiles, tmp_path: Path, clock: Clock
) -> None:
    make(tmp_path / name)
    assert files.settings_for(tmp_path / "project/src/a.py") == DEFAULTS
    (complaint,) = messages(files)
    assert complaint.startswith(f"{tmp_path / name}")
    assert problem in complaint
    assert "nothing in this file is used" in complaint
    clock.pass_recheck()
    files.settings_for(tmp_path / "project/src/a.py")
    assert messages(files) == []


def test_a_file_full_of_mistakes_does_not_flood_the_editor() -> None:
    mistakes = {f"key_{number}": number for number in range(1000)}
    result, complaints = resolved(project=mistakes, editor={"maxTokens": 1})
    assert len(complaints) < 20
    assert "the rest is not looked at" in complaints[-1]
    assert result.max_tokens == 1


def test_a_file_that_may_not_be_read_costs_one_complaint(
    files: ConfigFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    (tmp_path / "user.toml").write_text("max_tokens = 10")
    monkeypatch.setattr(Path, "read_bytes", refuse)  # chmod does not stop root
    assert files.settings_for(None) == DEFAULTS
    assert messages(files)[0].startswith(f"{tmp_path / 'user.toml'}: cannot be read (Permission denied)")


def test_a_link_to_a_settings_file_is_followed(files: ConfigFiles, tmp_path: Path) -> None:
    (tmp_path / "real.toml").write_text("max_tokens = 10")
    (tmp_path / "user.toml").symlink_to(tmp_path / "real.toml")
    assert files.settings_for(None).max_tokens == 10


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(b"\xef\xbb\xbfmax_tokens = 10\r\n")
    layer = read_layer(path)
    assert layer is not None
    assert layer.values == {"max_tokens": 10}


def test_a_broken_pyproject_is_our_business_only_if_it_speaks_of_us(
    files: ConfigFiles, tmp_path: Path, clock: Clock
) -> None:
    pyproject = tmp_path / "project/pyproject.toml"
    pyproject.write_text("[tool.other\n")
    files.settings_for(tmp_path / "project/a.py")
    assert messages(files) == []
    pyproject.write_text("[tool.codex-lsp\n")
    clock.pass_recheck()
    files.settings_for(tmp_path / "project/a.py")
    assert len(messages(files)) == 1
    pyproject.write_text("[tool]\ncodex-lsp = 3\n")
    clock.pass_recheck()
    files.settings_for(tmp_path / "project/a.py")
    assert messages(files)[0].startswith(f"{pyproject}:2: `tool.codex-lsp` must be a table")


def test_a_path_that_no_file_can_have_is_no_error(files: ConfigFiles) -> None:
    assert files.settings_for(Path("/no\0where/a.py")) == DEFAULTS


def test_a_keystroke_costs_little(files: ConfigFiles, tmp_path: Path) -> None:
    (tmp_path / "project/.codex-lsp.toml").write_text("max_tokens = 10")
    path, editor = tmp_path / "project/src/a.py", {"debounceMs": 30, "exclude": ["a", "b"]}
    files.settings_for(path, tmp_path, editor)
    costs = []
    for _ in range(50):
        start = time.perf_counter()
        files.settings_for(path, tmp_path, editor)
        costs.append(time.perf_counter() - start)
    assert min(costs) < 100e-6
