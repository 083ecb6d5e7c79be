from pathlib import Path

import pytest

from codex_lsp.languages import comment_prefix, language_of


@pytest.mark.parametrize(
    ("path", "language"),
    [
        ("src/app.py", "python"),
        ("a.d.ts", "typescript"),
        ("Button.TSX", "typescriptreact"),
        ("run.sh", "shellscript"),
        ("Dockerfile", "dockerfile"),
        ("sub/Makefile", "makefile"),
        ("CMakeLists.txt", "cmake"),
        (".zshrc", "shellscript"),
        ("notes.txt", "plaintext"),
        ("LICENSE", "plaintext"),
        (".py", "plaintext"),
        ("", "plaintext"),
    ],
)
def test_the_language_comes_from_the_file_name(path: str, language: str) -> None:
    assert language_of(path) == language
    assert language_of(Path(path)) == language


@pytest.mark.parametrize(
    ("language", "prefix"),
    [("python", "#"), ("rust", "//"), ("lua", "--"), ("clojure", ";;"), ("html", None), ("plaintext", None)],
)
def test_the_comment_prefix_is_the_languages_own(language: str, prefix: str | None) -> None:
    assert comment_prefix(language) == prefix
