"""llama.cpp models that several tests share: loading one is quick, but not for every test."""

from pathlib import Path

import pytest

from codex_lsp.engine.model import LlamaModel
from codex_lsp.engine.request import EngineConfig


@pytest.fixture(scope="session")
def tiny(tiny_gguf: Path) -> LlamaModel:
    """The tiny model, loaded in this process. Whoever decodes with it starts by emptying its memory."""
    return LlamaModel(EngineConfig(str(tiny_gguf), n_ctx=512, n_threads=1), lambda _: None)
