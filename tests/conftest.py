"""What every test may ask for: the editors' switch and the real model."""

from pathlib import Path

import pytest

from codex_lsp.models import store
from codex_lsp.models.errors import ModelError
from tests import tiny_gguf as tiny

EDITORS = Path(__file__).parent / "editors"
REAL_MODEL = "qwen2.5-coder-0.5b-instruct"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--editors", action="store_true", help="run the tests that drive real editors, too")


def pytest_report_header(config: pytest.Config) -> str | None:
    if config.getoption("--editors"):
        return None
    return "editors: left out; pip install -e '.[test,editors]' and pytest --editors run them"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    # Not merely deselected: these files import what only the `editors` extra installs.
    return True if collection_path == EDITORS and not config.getoption("--editors") else None


@pytest.fixture(scope="session")
def real_model() -> Path:
    """The real 0.5B GGUF in the user's own cache, pulled when it is missing; skips when it cannot be had."""
    try:
        return store.pull(REAL_MODEL)
    except ModelError as error:
        pytest.skip(f"the real model cannot be had: {error}")


@pytest.fixture(scope="session")
def tiny_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generated model of a megabyte with Qwen's markers: llama.cpp loads it at once, and it writes crumbs."""
    return tiny.write(tmp_path_factory.mktemp("models") / "tiny.gguf")
