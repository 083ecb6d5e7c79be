"""What every test may ask for: the editors' switch and the real model."""

import subprocess
import sys
from pathlib import Path

import pytest

EDITORS = Path(__file__).parent / "editors"
REAL_MODEL = "qwen2.5-coder-0.5b-instruct"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--editors", action="store_true", help="run the tests that drive real editors, too")


def pytest_report_header(config: pytest.Config) -> str | None:
    return (
        None if config.getoption("--editors") else "editors: left out; --editors runs them (extra: editors)"
    )


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    # Not merely deselected: these files import what only the `editors` extra installs.
    return True if collection_path == EDITORS and not config.getoption("--editors") else None


@pytest.fixture(scope="session")
def real_model() -> Path:
    """The real 0.5B GGUF in the user's own cache, pulled when it is missing; skips when it cannot be had."""
    pull = _codex_lsp("model", "pull", REAL_MODEL)
    if pull.returncode:
        pytest.skip(f"the real model {REAL_MODEL} cannot be had: {pull.stderr.strip()}")
    return Path(_codex_lsp("model", "path", REAL_MODEL).stdout.strip())


def _codex_lsp(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "codex_lsp", *arguments], capture_output=True, text=True, check=False
    )
