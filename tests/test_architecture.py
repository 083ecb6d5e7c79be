"""The house holds: floors, boundaries, sizes. What `docs/architecture.md` promises is checked here."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "codex_lsp"
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}

# From the ground up. A module imports from lower floors, or from its own room (a package is one room).
FLOORS = [
    ["__init__"],
    ["paths", "document", "languages", "settings", "methods"],
    ["config", "connect", "engine", "context"],
    ["models", "policy", "postprocess", "cache"],
    ["host", "completer"],
    ["clients", "progress"],
    ["server"],
    ["daemon", "client", "proxy"],
    ["asking"],
    ["demo", "doctor"],
    ["cli"],
    ["__main__"],
]
FLOOR_OF = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}

# What every editor start runs: an import that costs 50 ms here is 50 ms at every start.
STANDARD_LIBRARY_ONLY = ["codex_lsp", "codex_lsp.__main__", "codex_lsp.paths", "codex_lsp.connect", "codex_lsp.proxy"]
MAY_IMPORT = {
    "llama_cpp": {"codex_lsp.engine.model"},
    "lsprotocol": {"codex_lsp.server", "codex_lsp.progress"},
    "pygls": {"codex_lsp.server", "codex_lsp.progress", "codex_lsp.daemon"},
    "diskcache": {"codex_lsp.cache"},
    "huggingface_hub": {"codex_lsp.models.hub", "codex_lsp.models.download"},
}
ASYNC_IN_ENGINE = {"codex_lsp.engine.process", "codex_lsp.engine.messages"}
MAX_LINES = 420


def imports(module: str, *, top_level_only: bool = False) -> Iterator[str]:
    """The absolute names that a module imports; `from codex_lsp import x` counts as codex_lsp.x."""
    tree = ast.parse(MODULES[module].read_text("utf-8"))
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively; we write the whole name"
            assert node.module is not None
            within = [f"{node.module}.{name.name}" for name in node.names]
            yield from (full if full in MODULES else node.module for full in within)


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else "__init__"


def test_every_room_has_a_floor() -> None:
    assert {room(module) for module in MODULES} == set(FLOOR_OF)


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_down(module: str) -> None:
    ours = {name for name in imports(module) if name.split(".")[0] == "codex_lsp"}
    upward = {name for name in ours if room(name) != room(module) and FLOOR_OF[room(name)] >= FLOOR_OF[room(module)]}

    assert not upward


@pytest.mark.parametrize("library", MAY_IMPORT)
def test_libraries_stay_in_their_rooms(library: str) -> None:
    importers = {module for module in MODULES if any(name.split(".")[0] == library for name in imports(module))}

    assert importers <= MAY_IMPORT[library]
    assert importers, f"nobody imports {library} any more; take it out of MAY_IMPORT"


@pytest.mark.parametrize("module", STANDARD_LIBRARY_ONLY)
def test_an_editor_start_loads_the_standard_library_only(module: str) -> None:
    names = {name for name in imports(module, top_level_only=True) if name not in STANDARD_LIBRARY_ONLY}

    assert {name.split(".")[0] for name in names} <= sys.stdlib_module_names


def test_asyncio_ends_at_the_engines_door() -> None:
    engine = {module for module in MODULES if module.startswith("codex_lsp.engine")}

    assert {module for module in engine if "asyncio" in imports(module)} == ASYNC_IN_ENGINE


@pytest.mark.parametrize("path", [*MODULES.values(), *sorted((ROOT / "tests").rglob("*.py"))], ids=lambda p: p.name)
def test_files_are_short_enough_to_read(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= MAX_LINES


@pytest.mark.parametrize("module", MODULES)
def test_no_room_is_named_for_what_has_no_place(module: str) -> None:
    assert not {"utils", "util", "helpers", "helper", "manager", "common", "misc"} & set(module.split("."))
