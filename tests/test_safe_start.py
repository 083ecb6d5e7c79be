"""Commands run inside a repository that somebody else wrote import nothing from it."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "codex_lsp"


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.name)
def test_every_python_we_start_leaves_the_working_directory_alone(path: Path) -> None:
    """`python -m x` puts the working directory first on the import path; `-P` does not."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        arguments = getattr(node, "elts", None) or getattr(node, "args", None)
        if not isinstance(arguments, list):
            continue
        words = [argument.value for argument in arguments if isinstance(argument, ast.Constant)]
        if "-m" in words:
            assert words[words.index("-m") - 1] == "-P", f"{path.name}:{getattr(node, 'lineno', 0)}"
