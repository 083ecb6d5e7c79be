"""What can be set. Each setting is defined here once: type, default, limits, who may set it, what it means.

The validation, `docs/settings.md` and the editors' own settings pages all come from this one class.
"""

import dataclasses
import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal, get_args

from pathspec import GitIgnoreSpec

MultiLine = Literal["auto", "always", "never"]
LogLevel = Literal["debug", "info", "warning"]

# File names that hold secrets in most projects; their text never reaches a model.
SECRET_FILES = (
    ".env", ".env.*", "*.env", ".envrc",
    "*.pem", "*.key", "*.ppk", "*.p12", "*.pfx", "*.jks", "*.keystore", "*.kdbx",
    "id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*", ".ssh/",
    ".netrc", "_netrc", ".npmrc", ".pypirc", ".git-credentials", ".htpasswd", ".pgpass", ".my.cnf",
    "**/.docker/config.json", "**/.kube/config",
    "secrets.json", "secrets.toml", "secrets.yaml", "secrets.yml", "credentials", "credentials.json", "credentials.csv",
    "*.tfstate", "*.tfstate.*", "*.tfvars",
)  # fmt: skip


class ProjectMay(Enum):
    """What a file in a repository may do to a setting: a cloned repository is not the user."""

    SET = "a project may set it"
    NARROW = "a project may only narrow it: switch off, lower, add exclusions"
    NOTHING = "only in your own settings file"


@dataclass(frozen=True, slots=True)
class Rule:
    """What the type of a setting does not say."""

    doc: str
    project_may: ProjectMay
    minimum: int = 0
    maximum: int = 0
    zero: bool = False  # 0 is allowed below `minimum`, and means "chosen for you", more than any number
    choices: tuple[str, ...] = ()


def _rule(doc: str, project_may: ProjectMay, **limits: Any) -> dict[str, Rule]:
    return {"rule": Rule(doc, project_may, **limits)}


@dataclass(frozen=True)
class Settings:
    """The settings that hold for one file."""

    enabled: bool = field(
        default=True,
        metadata=_rule("Whether there are suggestions at all.", ProjectMay.NARROW),
    )
    languages: Mapping[str, bool] = field(
        default_factory=dict,
        metadata=_rule(
            'Which languages have suggestions, like `{ markdown = false }`. `"*"` stands for every language '
            "that is not named; without it those have suggestions.",
            ProjectMay.NARROW,
        ),
    )
    exclude: tuple[str, ...] = field(
        default=SECRET_FILES,
        metadata=_rule(
            "Files that get no suggestions and whose text is in no prompt: patterns as in `.gitignore`, "
            "against the path below the workspace, or the whole path of a file outside one. What you list is added "
            "to the default; in your own file "
            "a pattern with `!` in front takes one out again.",
            ProjectMay.NARROW,
        ),
    )
    model: str = field(
        default="",
        metadata=_rule(
            "A name from `codex-lsp model list`, or the path of a GGUF file; `codex-lsp model use` writes it "
            "here. Empty: one that suits this machine.",
            ProjectMay.NOTHING,
        ),
    )
    max_tokens: int = field(
        default=64,
        metadata=_rule(
            "The longest suggestion, in tokens (about four characters of code each).",
            ProjectMay.NARROW,
            minimum=1,
            maximum=512,
        ),
    )
    debounce_ms: int = field(
        default=40,
        metadata=_rule(
            "How long the typing must rest before a suggestion is computed, in milliseconds. A suggestion "
            "asked for by hand does not wait.",
            ProjectMay.SET,
            minimum=0,
            maximum=2000,
        ),
    )
    deadline_ms: int = field(
        default=4000,
        metadata=_rule(
            "How long a suggestion may take, in milliseconds; then what is ready is shown.",
            ProjectMay.NARROW,
            minimum=100,
            maximum=30_000,
        ),
    )
    multi_line: MultiLine = field(
        default="auto",
        metadata=_rule(
            "Suggestions of more than one line: `auto` where a block is about to begin, `always` or `never`.",
            ProjectMay.SET,
            choices=get_args(MultiLine),
        ),
    )
    context_tokens: int = field(
        default=0,
        metadata=_rule(
            "How much text around the cursor the model reads, in tokens. 0: as much as the measured speed of "
            "this machine affords.",
            ProjectMay.NARROW,
            minimum=64,
            maximum=16_384,
            zero=True,
        ),
    )
    threads: int = field(
        default=0,
        metadata=_rule(
            "Threads that compute. 0: one for each physical core.",
            ProjectMay.NOTHING,
            minimum=0,
            maximum=512,
        ),
    )
    gpu_layers: int = field(
        default=-1,
        metadata=_rule(
            "Layers of the model that a GPU computes. -1: all that llama.cpp can place.",
            ProjectMay.NOTHING,
            minimum=-1,
            maximum=1000,
        ),
    )
    n_ctx: int = field(
        default=4096,
        metadata=_rule(
            "Tokens that the engine keeps room for; memory grows with it.",
            ProjectMay.NOTHING,
            minimum=512,
            maximum=131_072,
        ),
    )
    idle_exit_minutes: int = field(
        default=30,
        metadata=_rule(
            "The background process ends after this many minutes without an editor. 0: never.",
            ProjectMay.NOTHING,
            minimum=0,
            maximum=10_080,
        ),
    )
    cache_mb: int = field(
        default=64,
        metadata=_rule(
            "Disk space for suggestions that may be asked for again, in megabytes. 0: keep none. "
            "Read when the daemon starts.",
            ProjectMay.NOTHING,
            minimum=0,
            maximum=4096,
        ),
    )
    cache_days: int = field(
        default=30,
        metadata=_rule(
            "Days after which a kept suggestion is forgotten. Read when the daemon starts.",
            ProjectMay.NOTHING,
            minimum=1,
            maximum=365,
        ),
    )
    log_level: LogLevel = field(
        default="info",
        metadata=_rule(
            "What goes into the log. Only `debug` writes pieces of your text there.",
            ProjectMay.NOTHING,
            choices=get_args(LogLevel),
        ),
    )

    def excludes(self, relative_path: str) -> bool:
        """Whether the file, as a path below its workspace, is excluded."""
        return _compiled(self.exclude).match_file(relative_path)

    def language_enabled(self, language_id: str) -> bool:
        """Whether this language has suggestions."""
        return self.languages.get(language_id, self.languages.get("*", True))


RULES: dict[str, Rule] = {each.name: each.metadata["rule"] for each in dataclasses.fields(Settings)}
DEFAULTS = Settings()


def checked(name: str, value: object) -> Any:
    """`value` as the setting `name` keeps it. Raises ValueError, with what it must be, for a bad one."""
    rule, default = RULES[name], getattr(DEFAULTS, name)
    if isinstance(default, bool):
        right = isinstance(value, bool)
    elif isinstance(default, int):
        # True is an int to Python, but nobody means it as a number of tokens.
        right = isinstance(value, int) and not isinstance(value, bool) and _in_range(value, rule)
    elif isinstance(default, str):
        right = isinstance(value, str) and (not rule.choices or value in rule.choices)
    elif isinstance(default, tuple):
        return _checked_patterns(value)
    else:
        right = isinstance(value, Mapping) and all(isinstance(flag, bool) for flag in value.values())
    if not right:
        raise ValueError(f"must be {kind(name)}, not {_short(value)}")
    return value


def kind(name: str) -> str:
    """What a value of the setting must be, in words."""
    rule, default = RULES[name], getattr(DEFAULTS, name)
    if isinstance(default, bool):
        return "true or false"
    if isinstance(default, int):
        return f"{'0 or ' if rule.zero else ''}a whole number from {rule.minimum} to {rule.maximum}"
    if isinstance(default, tuple):
        return "a list of patterns"
    if isinstance(default, Mapping):
        return "a table of language ids, each true or false"
    return " or ".join(f'"{choice}"' for choice in rule.choices) or "a string"


def _in_range(value: int, rule: Rule) -> bool:
    return rule.minimum <= value <= rule.maximum or (rule.zero and value == 0)


def _checked_patterns(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(pattern, str) for pattern in value):
        raise ValueError(f"must be {kind('exclude')}, not {_short(value)}")
    try:
        GitIgnoreSpec.from_lines(value)
    except (ValueError, re.error) as error:
        raise ValueError(f"has a pattern that .gitignore would not take: {_short(value[0])}") from error
    return tuple(value)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


@functools.lru_cache(maxsize=64)
def _compiled(patterns: tuple[str, ...]) -> GitIgnoreSpec:
    return GitIgnoreSpec.from_lines(patterns)


_INTRODUCTION = """\
# Settings

Made from `codex_lsp/settings.py`; a test compares the two.

Settings come from four places. A later one wins over an earlier one:

1. the defaults below;
2. your own file: `~/.config/codex-lsp/config.toml` on Linux,
   `~/Library/Application Support/codex-lsp/config.toml` on macOS,
   `%LOCALAPPDATA%\\codex-lsp\\config\\config.toml` on Windows;
3. the project's: `.codex-lsp.toml`, or the table `[tool.codex-lsp]` in `pyproject.toml`, in the nearest
   folder above the file that has one. We look no further up than the workspace or, without one, the
   repository;
4. the editor's options, in `snake_case` or `camelCase`.

A change holds for the next suggestion; where it needs a restart, the setting says so. A bad value is reported once,
with file and line, and what held without it still holds.

A repository that you cloned is not you. What its file may do to a setting is said with each: some it may set,
some it may only narrow, and the rest are honoured only from your own file, not even from the editor, since a
workspace can carry editor options too.

```toml
# ~/.config/codex-lsp/config.toml
max_tokens = 48
exclude = ["drafts/", "*.csv"]

[languages]
markdown = false
```

```toml
# pyproject.toml
[tool.codex-lsp]
exclude = ["tests/data/"]
```
"""


def settings_markdown() -> str:
    """The whole of `docs/settings.md`."""
    sections = [_section(name, rule) for name, rule in RULES.items()]
    return "\n".join([_INTRODUCTION, *sections])


def _section(name: str, rule: Rule) -> str:
    default = getattr(DEFAULTS, name)
    if isinstance(default, tuple):
        shown = "file names that often hold secrets: " + " ".join(f"`{pattern}`" for pattern in default)
    else:
        shown = f"`{_toml(default)}`"
    facts = [_capitalised(kind(name)), f"Default: {shown}", _capitalised(rule.project_may.value)]
    return "\n".join([f"## `{name}`", "", rule.doc, "", *(f"- {fact}" for fact in facts), ""])


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


def _capitalised(text: str) -> str:
    return text[0].upper() + text[1:]
