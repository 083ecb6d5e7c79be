"""Where settings come from: the user's file, the project's, the editor; and what each may say.

`resolve` is pure and holds the rules. `ConfigFiles` reads the files and is cheap enough for every keystroke.
"""

import dataclasses
import difflib
import os
import re
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pathspec import GitIgnoreSpec

from codex_lsp.settings import DEFAULTS, RULES, ProjectMay, Settings, checked

PROJECT_FILE = ".codex-lsp.toml"
PYPROJECT_TABLE = ("tool", "codex-lsp")
EDITOR = "editor settings"
# How long a keystroke may rely on what the file system said before.
RECHECK_SECONDS = 0.5
# A settings file larger than this is not one; reading it would stall every editor.
MAX_FILE_BYTES = 200_000
# More mistakes than this in one place are no news, and each may become a message on the screen.
MAX_COMPLAINTS = 10

Origin = Literal["user", "project", "editor"]


@dataclass(frozen=True, slots=True)
class Complaint:
    """Something a person should put right; until then what held before still holds."""

    source: Path | str
    line: int | None
    message: str

    def __str__(self) -> str:
        where = f"{self.source}:{self.line}" if self.line else str(self.source)
        return f"{where}: {self.message}"


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """The settings of one place, as they were found. A changed file is a new layer, equal to no other."""

    source: Path | str
    values: Mapping[str, Any] = field(default_factory=dict)
    text: str = ""
    table: tuple[str, ...] = ()  # where in a TOML file the values are
    complaints: tuple[Complaint, ...] = ()

    def complaint(self, message: str, *keys: str) -> Complaint:
        """A complaint about the value at `keys`, with its line where that can be found."""
        lines = (find_line(self.text, (*self.table, *keys[:depth])) for depth in range(len(keys), 0, -1))
        return Complaint(self.source, next(filter(None, lines), None), message)


def resolve(
    user: Layer, project: Layer | None = None, editor: Mapping[str, Any] | None = None
) -> tuple[Settings, list[Complaint]]:
    """The settings that hold when these layers lie over each other, and what is wrong with the layers."""
    settings = DEFAULTS
    complaints: list[Complaint] = []
    layers: list[tuple[Origin, Layer | None]] = [
        ("user", user),
        ("project", project),
        ("editor", _editor_layer(editor or {})),
    ]
    for origin, layer in layers:
        if layer is not None:
            settings, found = _laid_over(settings, layer, origin, user.source)
            complaints += found
    return settings, complaints


def _laid_over(
    below: Settings, layer: Layer, origin: Origin, user_file: Path | str
) -> tuple[Settings, list[Complaint]]:
    settings = below
    complaints = list(layer.complaints)
    for name, part in _entries(layer.values):
        if len(complaints) >= MAX_COMPLAINTS:
            complaints.append(layer.complaint("the rest is not looked at until these are put right"))
            break
        try:
            _check_permission(name, origin, user_file)
            settings = _merged(below, settings, name, checked(name, part), origin)
        except ValueError as error:
            inner = part if isinstance(part, dict) else ()
            complaints.append(layer.complaint(f"`{name}` {error}", name, *inner))
    return settings, complaints


def _editor_layer(options: Mapping[str, Any]) -> Layer:
    # VS Code sends null for what nobody has set.
    values = {_snake_case(name): value for name, value in options.items() if value is not None}
    return Layer(EDITOR, values)


def _snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z])([A-Z])", r"_\1", name).lower()


def _entries(values: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """The values; tables and lists entry by entry, so that a bad one does not take the good ones with it."""
    for name, value in values.items():
        default = getattr(DEFAULTS, name, None)
        if isinstance(default, Mapping) and isinstance(value, dict):
            yield from ((name, {key: inner}) for key, inner in value.items())
        elif isinstance(default, tuple) and isinstance(value, list):
            yield from ((name, [inner]) for inner in value)
        else:
            yield name, value


def _check_permission(name: str, origin: Origin, user_file: Path | str) -> None:
    if name not in RULES:
        close = difflib.get_close_matches(name, RULES, n=1)
        hint = f"did you mean `{close[0]}`?" if close else "docs/settings.md lists them all"
        raise ValueError(f"is not a setting; {hint}")
    if origin != "user" and RULES[name].project_may is ProjectMay.NOTHING:
        raise ValueError(f"is honoured only from your own settings file {user_file}; set it there")


def _merged(below: Settings, settings: Settings, name: str, value: Any, origin: Origin) -> Settings:
    """`settings` with `value` laid over. Raises ValueError where a project asks for more than `below` has."""
    if origin == "project" and RULES[name].project_may is ProjectMay.NARROW:
        _check_narrower(below, name, value)
    held = getattr(settings, name)
    if isinstance(held, tuple):
        value = (*held, *value)
    elif isinstance(held, Mapping):
        value = {**held, **value}
    changed: Settings = dataclasses.replace(settings, **{name: value})
    return changed


def _check_narrower(below: Settings, name: str, value: Any) -> None:
    held = getattr(below, name)
    if isinstance(held, Mapping):
        for language, wanted in value.items():
            if wanted and not below.language_enabled(language):
                raise ValueError(f"may only switch languages off in a project; `{language}` stays off")
    elif isinstance(held, tuple):
        if any(pattern.include is False for pattern in GitIgnoreSpec.from_lines(value).patterns):
            raise ValueError(f"may only exclude more files in a project; take out {value[0]!r}")
    elif isinstance(held, bool):
        if value and not held:
            raise ValueError("may only switch off in a project; it stays off")
    elif _size(name, value) > _size(name, held):
        raise ValueError(f"may only be lowered in a project; it stays at {held}")


def _size(name: str, value: int) -> float:
    return float("inf") if RULES[name].zero and value == 0 else value


class ConfigFiles:
    """The settings files, read when first needed and again when they have changed."""

    def __init__(self, user_file: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._user_file = user_file
        self._clock = clock
        self._no_user_layer = Layer(user_file)
        self._checked: dict[object, tuple[float, Layer | None]] = {}
        self._files: dict[Path, tuple[tuple[int, ...], Layer | None]] = {}
        self._resolved: dict[tuple[Layer, Layer | None, str], Settings] = {}
        self._reported: set[tuple[int, Complaint]] = set()
        self._complaints: list[Complaint] = []

    def settings_for(
        self, path: Path | None, root: Path | None = None, editor: Mapping[str, Any] | None = None
    ) -> Settings:
        """The settings of a file in a workspace; without a file, of the workspace. Never raises."""
        user = self._recent("user", lambda: self._layer(self._user_file, ())) or self._no_user_layer
        project = None
        folder = path.parent if path else root
        if folder:
            project = self._recent((folder, root), lambda: self._project_layer(folder, root))
        key = (user, project, repr(editor))
        if key not in self._resolved:
            _make_room(self._resolved)
            self._resolved[key], complaints = resolve(user, project, editor)
            content = {user.source: user.text, EDITOR: repr(editor)}
            if project:
                content[project.source] = project.text
            self._report(complaints, content)
        return self._resolved[key]

    def new_complaints(self) -> list[Complaint]:
        """What `settings_for` found wrong since the last call; each once while its file stays as it is."""
        complaints, self._complaints = self._complaints, []
        return complaints

    def _report(self, complaints: list[Complaint], content: Mapping[Path | str, str]) -> None:
        for complaint in complaints:
            key = (hash(content[complaint.source]), complaint)
            if key not in self._reported:
                self._reported.add(key)
                self._complaints.append(complaint)

    def _recent(self, key: object, find: Callable[[], Layer | None]) -> Layer | None:
        now = self._clock()
        known = self._checked.get(key)
        if known is None or now - known[0] >= RECHECK_SECONDS:
            _make_room(self._checked)
            known = self._checked[key] = (now, find())
        return known[1]

    def _project_layer(self, folder: Path, root: Path | None) -> Layer | None:
        inside_root = root is not None and folder.is_relative_to(root)
        for place in (folder, *folder.parents):
            layer = self._layer(place / PROJECT_FILE, ())
            layer = layer or self._layer(place / "pyproject.toml", PYPROJECT_TABLE)
            if layer:
                return layer
            if place == root if inside_root else os.path.lexists(place / ".git"):
                return None
        return None

    def _layer(self, path: Path, table: tuple[str, ...]) -> Layer | None:
        try:
            status = path.stat()
            stamp: tuple[int, ...] = (status.st_mtime_ns, status.st_ctime_ns, status.st_size)
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return None  # ValueError: a path that no file can have
        except OSError as error:
            stamp = (error.errno or 0,)
        known = self._files.get(path)
        if known is None or known[0] != stamp:
            _make_room(self._files)
            known = self._files[path] = (stamp, read_layer(path, table))
        return known[1]


def _make_room(cache: dict[Any, Any]) -> None:
    """Keep a cache of a long-lived process small; starting over costs a few milliseconds."""
    if len(cache) >= 1000:
        cache.clear()


def read_layer(path: Path, table: tuple[str, ...] = ()) -> Layer | None:
    """The settings in a TOML file, below `table`; None when that table is not there.

    What is wrong with the file becomes the layer's complaint; nothing is raised.
    """
    try:
        if not path.is_file():
            return _unusable(path, None, "this is not a file")
        if path.stat().st_size > MAX_FILE_BYTES:
            return _unusable(path, None, f"this is larger than {MAX_FILE_BYTES:,} bytes")
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        return _unusable(path, None, f"cannot be read ({error.strerror})")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        return _unusable(path, line, "this is not UTF-8 text")
    if table and table[-1] not in text:
        return None  # somebody else's file, whose mistakes are none of our business
    try:
        values: Any = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        problem = str(error)
        found = re.search(r"\(at line (\d+)", problem)
        line = int(found[1]) if found else text.count("\n") + 1
        return _unusable(path, line, f"this is not TOML: {problem}", text)
    for key in table:
        if not isinstance(values, dict) or key not in values:
            return None
        values = values[key]
    if not isinstance(values, dict):
        return _unusable(path, find_line(text, table), f"`{'.'.join(table)}` must be a table", text)
    return Layer(path, values, text, table)


def _unusable(path: Path, line: int | None, problem: str, text: str = "") -> Layer:
    message = f"{problem}; nothing in this file is used until that is put right"
    return Layer(path, text=text, complaints=(Complaint(path, line, message),))


_KEY = r"""(?:[\w-]+|"[^"]*"|'[^']*')"""
_KEYS = rf"({_KEY}(?:[ \t]*\.[ \t]*{_KEY})*)"
_HEADER = re.compile(rf"[ \t]*\[[ \t]*{_KEYS}[ \t]*\][ \t]*(?:#.*)?")
_ASSIGNMENT = re.compile(rf"[ \t]*{_KEYS}[ \t]*=")
_LONG_STRING = re.compile(r'"""[\s\S]*?"""|' + r"'''[\s\S]*?'''")


def find_line(toml: str, keys: tuple[str, ...]) -> int | None:
    """The line, from 1, where a table or a key is written; None inside inline tables and the like.

    `tomllib` keeps no places, so this reads table headers and the left sides of assignments only.
    """
    # Blanking strings of several lines keeps their text from being read as keys, and the line count right.
    toml = _LONG_STRING.sub(lambda match: "\n" * match[0].count("\n"), toml)
    table: tuple[str, ...] = ()
    for number, line in enumerate(toml.split("\n"), start=1):
        if header := _HEADER.fullmatch(line.rstrip("\r")):
            table = found = _split_keys(header[1])
        elif assignment := _ASSIGNMENT.match(line):
            found = (*table, *_split_keys(assignment[1]))
        else:
            continue
        if found == keys:
            return number
    return None


def _split_keys(dotted: str) -> tuple[str, ...]:
    return tuple(key.strip("\"'") for key in re.findall(_KEY, dotted))
