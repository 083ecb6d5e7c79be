"""Settings: which values they take, what they answer, and that their page says the same."""

from pathlib import Path

import pytest

from codex_lsp.settings import DEFAULTS, Settings, checked, settings_markdown

BAD_VALUES = [
    ("enabled", 1, "true or false"),
    ("enabled", "yes", "true or false"),
    ("max_tokens", True, "1 to 512"),
    ("max_tokens", 0, "1 to 512"),
    ("max_tokens", 513, "1 to 512"),
    ("max_tokens", 64.0, "1 to 512"),
    ("max_tokens", "64", "1 to 512"),
    ("context_tokens", 63, "0 or a whole number from 64 to 16384"),
    ("gpu_layers", -2, "-1"),
    ("multi_line", "sometimes", '"auto" or "always" or "never"'),
    ("multi_line", ["auto"], '"auto" or "always" or "never"'),
    ("model", 7, "a string"),
    ("languages", ["python"], "table"),
    ("languages", {"python": "off"}, "true or false"),
    ("exclude", "*.csv", "list of patterns"),
    ("exclude", [7], "list of patterns"),
    ("exclude", ["!"], "pattern"),
    ("exclude", ["[z-a]"], "pattern"),
]


@pytest.mark.parametrize(("name", "value", "must_be"), BAD_VALUES, ids=[f"{n}={v}" for n, v, _ in BAD_VALUES])
def test_a_bad_value_is_refused_with_what_it_must_be(name: str, value: object, must_be: str) -> None:
    with pytest.raises(ValueError, match=r"^(must be|has a pattern)") as refusal:
        checked(name, value)
    assert must_be in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_tokens", 1),
        ("max_tokens", 512),
        ("context_tokens", 0),
        ("gpu_layers", -1),
        ("model", "~/a.gguf"),
    ],
)
def test_a_good_value_is_taken_as_it_is(name: str, value: object) -> None:
    assert checked(name, value) == value


def test_a_long_bad_value_is_cut_short_in_the_complaint() -> None:
    with pytest.raises(ValueError, match="must be") as refusal:
        checked("enabled", "x" * 5000)
    assert len(str(refusal.value)) < 100


@pytest.mark.parametrize(
    "path",
    [".env", "deploy/.env.production", "certs/server.pem", "home/id_rsa", "id_ed25519.pub", ".ssh/config",
     "infra/terraform.tfstate", "config/secrets.yaml", ".aws/credentials", "vault.kdbx",
     ".netrc", "/home/me/.ssh/config", "home/me/.docker/config.json", ".kube/config"],
)  # fmt: skip
def test_files_that_hold_secrets_are_excluded_from_the_start(path: str) -> None:
    assert DEFAULTS.excludes(path)


@pytest.mark.parametrize("path", ["src/app.py", "/tmp/app.py", "environment.py", "keys.py", "docs/env.md", "monkey.ts"])
def test_other_files_are_not(path: str) -> None:
    assert not DEFAULTS.excludes(path)


def test_a_language_has_suggestions_unless_it_is_switched_off() -> None:
    assert Settings(languages={"markdown": False}).language_enabled("python")
    assert not Settings(languages={"markdown": False}).language_enabled("markdown")
    assert not Settings(languages={"*": False}).language_enabled("python")


def test_the_documentation_is_what_the_code_says() -> None:
    path = Path(__file__).parents[1] / "docs/settings.md"
    assert path.read_text(encoding="utf-8") == settings_markdown(), (
        "docs/settings.md is out of date: write settings_markdown() into it"
    )
