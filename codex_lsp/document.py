"""The text of one open document, kept in step with the editor.

Lines end where the protocol says they end: at `\\n`, `\\r\\n` and a lone `\\r`, and nowhere else.
(`str.splitlines` also breaks at form feeds and U+2028, which puts edits on the wrong line.) An edit replaces
a few lines in a list; the whole text is put together only when somebody asks for it.
"""

import io
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

PositionEncoding = Literal["utf-8", "utf-16", "utf-32"]
Eol = Literal["\n", "\r\n"]

# The most code units one character can take.
_WIDEST = {"utf-8": 4, "utf-16": 2, "utf-32": 1}


class Position(NamedTuple):
    """A place as the protocol gives it: both from 0, `character` in code units of the agreed encoding."""

    line: int
    character: int


@dataclass(frozen=True, slots=True)
class Change:
    """One edit: `text` takes the place of start..end, or of the whole document where these are None."""

    text: str
    start: Position | None = None
    end: Position | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What surrounds the cursor at one version of a document; later edits do not touch it.

    All text in here has `\\n` for line ends, whatever the document has: models have seen little else. What
    goes back into the document is converted to `eol`.
    """

    uri: str
    language_id: str
    version: int
    line: int
    column: int  # in code points, not in the client's code units
    prefix: str  # from the start of `prefix_start_line` to the cursor
    suffix: str  # from the cursor on, whole lines
    prefix_start_line: int
    line_prefix: str  # the cursor's own line before the cursor
    line_suffix: str  # and after it, without the line end
    eol: Eol


class Document:
    """One open document. Positions are clamped into the text, never refused: editors and servers race."""

    def __init__(self, uri: str, language_id: str, version: int, text: str) -> None:
        self.uri = uri
        self.language_id = language_id
        self.version = version
        # Invariant: every line but the last carries its line end; the last has none and may be empty.
        self._lines: list[str] = []
        self._crlf_count = 0
        self._replace_lines(0, 0, split_lines(text))

    @property
    def text(self) -> str:
        """The whole text, put together anew at each call."""
        return "".join(self._lines)

    @property
    def line_count(self) -> int:
        """At least 1; text that ends in a line end has an empty last line."""
        return len(self._lines)

    @property
    def eol(self) -> Eol:
        """The line end that most lines have."""
        return "\r\n" if self._crlf_count * 2 > len(self._lines) - 1 else "\n"

    def line_length(self, line: int) -> int:
        """Code points in one line, its line end included."""
        return len(self._lines[line])

    def chars_between(self, first_line: int, last_line: int) -> int:
        """Code points in the lines `first_line` through `last_line`, their line ends included."""
        return sum(map(len, self._lines[first_line : last_line + 1]))

    def apply(self, changes: Iterable[Change], version: int, encoding: PositionEncoding) -> None:
        """Make the edits one after the other; each one's positions refer to the text the last one left."""
        for change in changes:
            if change.start is None or change.end is None:
                self._replace_lines(0, len(self._lines), split_lines(change.text))
            else:
                self._splice(change.start, change.end, change.text, encoding)
        self.version = version

    def column(self, position: Position, encoding: PositionEncoding) -> tuple[int, int]:
        """The line and the code point in it at a protocol position.

        Past the last line is the end of the document, past a line's end is before its line end, and the
        middle of a character is its start.
        """
        if position.line >= len(self._lines):
            return len(self._lines) - 1, len(self._lines[-1])
        return position.line, _index(_content(self._lines[position.line]), position.character, encoding)

    def position(self, line: int, index: int, encoding: PositionEncoding) -> Position:
        """The protocol position of code point `index` in an existing line: the way back from `column`."""
        return Position(line, _units(_content(self._lines[line])[:index], encoding))

    def snapshot(self, position: Position, encoding: PositionEncoding, first_line: int, last_line: int) -> Snapshot:
        """The text from the start of `first_line` to the cursor, and on to the end of `last_line`.

        `last_line` counts with its line end. Lines that do not exist, or that lie on the wrong side of the
        cursor, are no error: the window is what there is, and always holds the cursor's line.
        """
        line, index = self.column(position, encoding)
        first_line = max(0, min(first_line, line))
        current = self._lines[line]
        return Snapshot(
            uri=self.uri,
            language_id=self.language_id,
            version=self.version,
            line=line,
            column=index,
            prefix=_with_newlines("".join(self._lines[first_line:line]) + current[:index]),
            suffix=_with_newlines(current[index:] + "".join(self._lines[line + 1 : last_line + 1])),
            prefix_start_line=first_line,
            line_prefix=current[:index],
            line_suffix=_content(current)[index:],
            eol=self.eol,
        )

    def _splice(self, start: Position, end: Position, text: str, encoding: PositionEncoding) -> None:
        (first, start_index), (last, end_index) = sorted((self.column(start, encoding), self.column(end, encoding)))
        replacement = self._lines[first][:start_index] + text + self._lines[last][end_index:]
        if replacement.startswith("\n") and first > 0 and self._lines[first - 1].endswith("\r"):
            # The edit completed a "\r\n": the line before ends one character later than it did.
            first -= 1
            replacement = self._lines[first] + replacement
        new_lines = split_lines(replacement)
        if last < len(self._lines) - 1:
            new_lines.pop()  # the empty rest after the line end that `last` has kept
        self._replace_lines(first, last + 1, new_lines)

    def _replace_lines(self, start: int, stop: int, new_lines: list[str]) -> None:
        self._crlf_count += _count_crlf(new_lines) - _count_crlf(self._lines[start:stop])
        self._lines[start:stop] = new_lines


def split_lines(text: str) -> list[str]:
    """The lines with their line ends; what follows the last line end is a line too, even when empty."""
    # newline="" makes this the one splitter of the standard library with exactly the protocol's line ends.
    lines = list(io.StringIO(text, newline=""))
    if not lines or lines[-1].endswith(("\n", "\r")):
        lines.append("")
    return lines


def _content(line: str) -> str:
    return line.rstrip("\r\n")


def _count_crlf(lines: list[str]) -> int:
    return sum(line.endswith("\r\n") for line in lines)


def _with_newlines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _units(text: str, encoding: PositionEncoding) -> int:
    if encoding == "utf-32" or text.isascii():
        return len(text)
    # Half a surrogate pair is legal in JSON, so it must not raise here; it counts as its own code unit.
    if encoding == "utf-16":
        return len(text.encode("utf-16-le", "surrogatepass")) // 2
    return len(text.encode("utf-8", "surrogatepass"))


def _index(content: str, units: int, encoding: PositionEncoding) -> int:
    """The number of whole code points in the first `units` code units."""
    if encoding == "utf-32" or content[:units].isascii():
        return min(units, len(content))
    # Steps that cannot overshoot, each over what the last one left: one pass over the line in all.
    index = 0
    while units > 0 and index < len(content):
        step = content[index : index + max(1, units // _WIDEST[encoding])]
        units -= _units(step, encoding)
        if units < 0:
            break  # in the middle of a character
        index += len(step)
    return index
