"""May this place have a suggestion, and of what shape? Every refusal has a name that people can look up."""

from dataclasses import dataclass
from enum import StrEnum

from codex_lsp.document import Snapshot
from codex_lsp.settings import Settings

# What opens a block at the end of a line, in the languages people write.
OPENERS = (":", "{", "(", "[", "=>", "->", " do", " then")
MIN_PREFIX_CHARS = 2


class Refusal(StrEnum):
    """Why there is no suggestion. The value is the sentence people read."""

    DISABLED = "Suggestions are switched off (`enabled = false`)."
    LANGUAGE = "Suggestions are switched off for this language (`languages`)."
    EXCLUDED = "This file is on the list of excluded files (`exclude`); it may hold secrets."
    EMPTY = "There is too little text before the cursor to go by."
    MID_WORD = "The cursor is inside a word; ask by hand to complete here."
    NOTHING = "The model had nothing to add here that is not there already."
    NO_MODEL = "No model can be used."
    ENGINE_DIED = "The engine stopped while it worked on this; it is being started again."


@dataclass(frozen=True, slots=True)
class Shape:
    """What to ask the engine for. `base_indent` as in `engine.request.Request`."""

    single_line: bool
    base_indent: int | None


def judge(snapshot: Snapshot, path: str | None, settings: Settings, *, invoked: bool) -> Refusal | Shape:
    """What may be suggested at the cursor. `path` is what `exclude` looks at, None for unsaved text."""
    if not settings.enabled:
        return Refusal.DISABLED
    if not settings.language_enabled(snapshot.language_id):
        return Refusal.LANGUAGE
    if path is not None and settings.excludes(path):
        return Refusal.EXCLUDED
    if len(snapshot.prefix.strip()) < MIN_PREFIX_CHARS:
        return Refusal.EMPTY
    if not invoked and _is_word(snapshot.line_suffix[:1]) and _is_word(snapshot.line_prefix[-1:]):
        return Refusal.MID_WORD
    return _shape(snapshot, settings)


def _shape(snapshot: Snapshot, settings: Settings) -> Shape:
    before = snapshot.line_prefix.rstrip()
    opens_block = before.endswith(OPENERS)
    multi_line = settings.multi_line == "always" or (
        settings.multi_line == "auto" and not snapshot.line_suffix.strip() and (not before or opens_block)
    )
    if not multi_line:
        return Shape(single_line=True, base_indent=None)
    if not before:
        return Shape(single_line=False, base_indent=len(snapshot.line_prefix))
    indent = len(before) - len(before.lstrip())
    return Shape(single_line=False, base_indent=indent + (1 if opens_block else 0))


def _is_word(char: str) -> bool:
    return char.isalnum() or char == "_"
