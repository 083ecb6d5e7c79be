import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from codex_lsp import paths
from codex_lsp.models import catalogue, hardware, store
from codex_lsp.models.catalogue import CatalogueModel
from codex_lsp.models.errors import ModelMissing, NotAGguf, UnknownModel
from codex_lsp.models.hardware import GIB, Machine
from tests.models.conftest import gguf_bytes

CatalogueOf = Callable[..., CatalogueModel]


@pytest.fixture
def models() -> Path:
    return paths.private_dir(paths.models_dir())


def put(folder: Path, name: str, content: bytes = b"") -> Path:
    path = folder / name
    path.write_bytes(content or gguf_bytes(values=4))
    return path


def test_nothing_is_installed_at_first() -> None:
    assert store.installed() == []


def test_installed_models_have_the_catalogues_names_or_their_own(models: Path) -> None:
    put(models, "starcoder2-3b-Q4_K_M.gguf")
    put(models, "mine-1234.gguf")
    put(models, "other.gguf.part")

    assert [(entry.name, entry.model is not None) for entry in store.installed()] == [
        ("mine-1234", False),
        ("starcoder2-3b", True),
    ]


def test_a_name_is_resolved_to_its_file(models: Path) -> None:
    mine, starcoder = put(models, "mine.gguf"), put(models, "starcoder2-3b-Q4_K_M.gguf")

    assert store.resolve("mine") == mine
    assert store.resolve("StarCoder2-3B") == starcoder


def test_a_path_is_resolved_to_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(tmp_path, "own.gguf")
    monkeypatch.setenv("HOME", str(tmp_path))

    assert store.resolve(str(path)) == path
    assert store.resolve("~/own.gguf") == path


def test_a_model_that_is_not_here_names_the_command() -> None:
    with pytest.raises(ModelMissing, match=r"not here yet\. Run: codex-lsp model pull starcoder2-3b$"):
        store.resolve("starcoder2-3b")
    with pytest.raises(UnknownModel, match="no model called 'gpt'"):
        store.resolve("gpt")
    with pytest.raises(ModelMissing, match=r"There is no file /nowhere/x\.gguf\. Check the path"):
        store.resolve("/nowhere/x.gguf")


def test_a_path_to_something_else_is_refused(tmp_path: Path) -> None:
    path = put(tmp_path, "page.gguf", b"<html></html>")

    with pytest.raises(NotAGguf, match="is not a GGUF file"):
        store.resolve(str(path))


@pytest.fixture
def small_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two cores, no GPU: the 0.5B instruct model is the one that suits."""
    monkeypatch.setattr(hardware, "detect", lambda: Machine(24 * GIB, 20 * GIB, 2))


@pytest.mark.usefixtures("small_machine")
def test_without_a_setting_the_suitable_model_is_taken(models: Path) -> None:
    with pytest.raises(ModelMissing, match=r"No model is here yet\. Run: .* pull qwen2\.5-coder-0\.5b-instruct"):
        store.resolve("")

    large = models / catalogue.find("codestral-22b").file
    with large.open("wb") as file:
        file.truncate(catalogue.find("codestral-22b").size)
    assert store.resolve("") == large, "better a large one than none"

    small = put(models, "small.gguf")
    assert store.resolve("") == small

    suitable = models / catalogue.find("qwen2.5-coder-0.5b-instruct").file
    with suitable.open("wb") as file:
        file.truncate(catalogue.find("qwen2.5-coder-0.5b-instruct").size)
    assert store.resolve("") == suitable


def test_remove_takes_the_file_and_what_was_unfinished(models: Path, catalogue_of: CatalogueOf) -> None:
    catalogue_of(b"x")
    for ending in ("", ".part", ".part.version", ".parts", ".parts.json"):
        put(models, f"tiny.gguf{ending}")
    kept = put(models, "other.gguf")

    assert store.remove("tiny") == models / "tiny.gguf"
    assert [path for path in models.iterdir() if not path.name.endswith(".lock")] == [kept]


def test_remove_of_an_unfinished_pull_alone(models: Path, catalogue_of: CatalogueOf) -> None:
    catalogue_of(b"x")
    put(models, "tiny.gguf.part")

    store.remove("tiny")

    with pytest.raises(ModelMissing, match="tiny is not on this machine"):
        store.remove("tiny")


def test_remove_never_leaves_the_models_folder(models: Path, tmp_path: Path) -> None:
    outside = put(tmp_path, "precious.gguf")

    with pytest.raises(UnknownModel):
        store.remove(str(outside))
    with pytest.raises(UnknownModel):
        store.remove("../precious")
    assert outside.exists()


def test_importing_the_store_is_light() -> None:
    heavy = "{'huggingface_hub', 'httpx2', 'psutil', 'tomlkit', 'llama_cpp', 'numpy'}"
    script = f"import sys, codex_lsp.models.store; print(sorted({heavy} & set(sys.modules)))"

    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert answer.stdout.strip() == "[]"
