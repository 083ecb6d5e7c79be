"""The two commands a newcomer meets first, as a newcomer runs them."""

import json
from pathlib import Path

import pytest

from tests.e2e.conftest import Home


@pytest.mark.model
def test_the_demo_completes_both_samples(cold_home: Home, real_model: Path) -> None:
    cold_home.use(real_model)

    ran = cold_home.run("demo")

    assert ran.returncode == 0, ran.stderr
    assert "inventory.py" in ran.stdout
    assert "cart.ts" in ran.stdout
    assert ran.stdout.count("«") == 2, "each completion is set off"
    assert ran.stdout.count("tokens: ") == 2, "each says what it cost"
    assert "item.price * item.quantity" in ran.stdout


def test_the_demo_takes_the_model_it_is_given_and_keeps_it(home_without_model: Home, tiny_gguf: Path) -> None:
    ran = home_without_model.run("demo", "--model", str(tiny_gguf))

    # The tiny model writes crumbs, and may have none for a sample; that it was asked is what counts here.
    assert "cart.ts" in ran.stdout, ran.stderr
    settings = (home_without_model.path / "config/config.toml").read_text("utf-8")
    assert str(tiny_gguf) in settings


def test_the_demo_of_another_model_is_not_answered_by_the_one_that_runs(
    cold_home: Home, tiny_gguf: Path, tmp_path: Path
) -> None:
    another = tmp_path / "another.gguf"
    another.write_bytes(tiny_gguf.read_bytes())
    assert cold_home.run("daemon", "start").returncode == 0

    cold_home.run("demo", "--model", str(another))

    assert cold_home.status()["engine"]["model"]["path"] == str(another)


def test_the_doctor_finds_everything_in_order(shared_home: Home) -> None:
    ran = shared_home.run("doctor")

    assert ran.returncode == 0, ran.stdout + ran.stderr
    for name in ("python", "llama.cpp", "machine", "gpu", "model", "daemon", "engine", "template", "speed", "window"):
        assert f"✓ {name} " in ran.stdout


def test_the_doctor_as_json_measures(shared_home: Home) -> None:
    findings = {finding["name"]: finding for finding in json.loads(shared_home.run("doctor", "--json").stdout)}

    assert findings["template"]["value"].startswith("qwen2.5-coder")
    prefill, decode = (float(part.split()[1]) for part in findings["speed"]["value"].split(", ")[:2])
    assert prefill > 0
    assert decode > 0


def test_the_doctor_names_what_is_missing_and_what_to_do(home_without_model: Home) -> None:
    (home_without_model.path / "config/config.toml").write_text("max_tokens = 'many'\n")

    ran = home_without_model.run("doctor")

    assert ran.returncode == 1
    assert "codex-lsp model pull" in ran.stdout
    assert "config.toml:1: " in ran.stdout
