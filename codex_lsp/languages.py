"""Languages by file name, for text that comes without an editor to say what it is."""

from pathlib import PurePath

PLAIN_TEXT = "plaintext"

# The language ids are the protocol's and VS Code's; editors send the same ones.
_BY_SUFFIX = {
    ".bash": "shellscript",
    ".c": "c",
    ".cc": "cpp",
    ".cjs": "javascript",
    ".clj": "clojure",
    ".cpp": "cpp",
    ".cs": "csharp",
    ".css": "css",
    ".cts": "typescript",
    ".cxx": "cpp",
    ".dart": "dart",
    ".erl": "erlang",
    ".ex": "elixir",
    ".exs": "elixir",
    ".go": "go",
    ".h": "c",
    ".hh": "cpp",
    ".hpp": "cpp",
    ".hs": "haskell",
    ".htm": "html",
    ".html": "html",
    ".java": "java",
    ".jl": "julia",
    ".js": "javascript",
    ".json": "json",
    ".jsx": "javascriptreact",
    ".kt": "kotlin",
    ".kts": "kotlin",
    ".lua": "lua",
    ".m": "objective-c",
    ".markdown": "markdown",
    ".md": "markdown",
    ".mjs": "javascript",
    ".ml": "ocaml",
    ".mts": "typescript",
    ".php": "php",
    ".pl": "perl",
    ".pm": "perl",
    ".ps1": "powershell",
    ".py": "python",
    ".pyi": "python",
    ".r": "r",
    ".rb": "ruby",
    ".rs": "rust",
    ".scala": "scala",
    ".scss": "scss",
    ".sh": "shellscript",
    ".sql": "sql",
    ".svelte": "svelte",
    ".swift": "swift",
    ".tf": "terraform",
    ".toml": "toml",
    ".ts": "typescript",
    ".tsx": "typescriptreact",
    ".vue": "vue",
    ".xml": "xml",
    ".yaml": "yaml",
    ".yml": "yaml",
    ".zig": "zig",
    ".zsh": "shellscript",
}

_BY_NAME = {
    ".bashrc": "shellscript",
    ".zshrc": "shellscript",
    "cmakelists.txt": "cmake",
    "dockerfile": "dockerfile",
    "gemfile": "ruby",
    "makefile": "makefile",
    "rakefile": "ruby",
}

_COMMENT_PREFIX = {
    "//": (
        "c cpp csharp dart go java javascript javascriptreact kotlin objective-c php rust scala scss svelte "
        "swift typescript typescriptreact vue zig"
    ),
    "#": ("cmake dockerfile elixir julia makefile perl powershell python r ruby shellscript terraform toml yaml"),
    "--": "haskell lua sql",
    "%": "erlang",
    ";;": "clojure",
}
_COMMENT_BY_LANGUAGE = {
    language: prefix for prefix, languages in _COMMENT_PREFIX.items() for language in languages.split()
}


def language_of(path: PurePath | str) -> str:
    """The language id of a file, by its name alone; "plaintext" for one we do not know."""
    name = PurePath(path).name.lower()
    return _BY_NAME.get(name) or _BY_SUFFIX.get(PurePath(name).suffix, PLAIN_TEXT)


def comment_prefix(language_id: str) -> str | None:
    """What begins a comment to the end of the line; None where a language has no such thing, like HTML."""
    return _COMMENT_BY_LANGUAGE.get(language_id)
