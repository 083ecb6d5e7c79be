"""Reads the head of a GGUF file: what the model is, and whether all of it is there.

The reader is ours because it must be safe before llama.cpp, which ends the process on a bad file, is let near
the model. It trusts nothing: each count and length is held against the file's size and our own limits before
it is used, so a broken or hostile file costs a NotAGguf, no more. ggml's docs/gguf.md describes the format.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from codex_lsp.engine import fim
from codex_lsp.models.errors import NotAGguf

MAGIC = b"GGUF"
VERSIONS = (2, 3)
ALIGNMENT = 32

# The largest files known hold about 60 keys, 260,000 tokens, 500,000 merges and 2,000 tensors.
MAX_KEYS = 10_000
MAX_TENSORS = 100_000
MAX_ITEMS = 4_000_000
MAX_TEXT = 1 << 20

# Metadata types and their sizes: u8 i8 u16 i16 u32 i32 f32 bool · string · array · u64 i64 f64
SCALARS = dict(
    zip(
        (*range(8), 10, 11, 12),
        ("<B", "<b", "<H", "<h", "<I", "<i", "<f", "<?", "<Q", "<q", "<d"),
        strict=True,
    )
)
STRING = 8
ARRAY = 9

# Tensor types by ggml's number: values in a block, then bytes of a block for each type with such blocks.
K_BLOCKS = (84, 110, 144, 176, 210, 292, 66, 74, 98, 50, 110, 82, 136, 56, 54, 66)
BLOCK_BYTES = {
    1: {0: 4, 1: 2, 24: 1, 25: 2, 26: 4, 27: 8, 28: 8, 30: 2},
    32: {2: 18, 3: 20, 6: 22, 7: 24, 8: 34, 20: 18, 39: 17},
    256: dict(zip([*range(10, 20), 21, 22, 23, 29, 34, 35], K_BLOCKS, strict=True)),
}
BLOCKS = {kind: (values, size) for values, kinds in BLOCK_BYTES.items() for kind, size in kinds.items()}

MARKERS = frozenset(
    marker.encode()
    for family in fim.FAMILIES
    for marker in (family.prefix, family.suffix, family.middle, family.only_with)
    if marker is not None
)

Value = int | float | bool | str


@dataclass(frozen=True, slots=True)
class GgufInfo:
    """What the head of a model file says. `size` in bytes; `context_length` in tokens, 0 when not stated."""

    path: Path
    size: int
    architecture: str
    name: str
    context_length: int
    n_vocab: int
    fim_family: str

    @property
    def knows_holes(self) -> bool:
        """False: the vocabulary has no FIM markers, the model sees only what is before the cursor."""
        return self.fim_family != "none"


def read(path: Path) -> GgufInfo:
    """The head of the model at `path`; raises NotAGguf, also when the file is cut off anywhere."""
    try:
        with path.open("rb") as file:
            return _Head(file, path).info()
    except OSError as error:
        raise NotAGguf(f"{path} cannot be read: {error.strerror}. Check the path and its rights.") from error


class _Head:
    """One pass over a file's head, front to back."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self.file = file
        self.path = path
        self.size = path.stat().st_size
        self.at = 0
        self.items = 0
        self.values: dict[str, Value] = {}
        self.n_vocab = 0
        self.markers: set[str] = set()

    def info(self) -> GgufInfo:
        n_tensors, n_keys = self.header()
        for _ in range(n_keys):
            self.key()
        self.tensors(n_tensors)
        architecture = str(self.values.get("general.architecture", "unknown"))
        context = self.values.get(f"{architecture}.context_length", 0)
        return GgufInfo(
            path=self.path,
            size=self.size,
            architecture=architecture,
            name=str(self.values.get("general.name", self.path.stem)),
            context_length=int(context) if isinstance(context, int) else 0,
            n_vocab=self.n_vocab,
            fim_family=fim.detect(_Markers(self.markers)).family,
        )

    def header(self) -> tuple[int, int]:
        if self.size < len(MAGIC) or self.take(len(MAGIC)) != MAGIC:
            raise NotAGguf(f"{self.path} is not a GGUF file. Give a model in llama.cpp's GGUF format.")
        version = self.number("<I")
        if version not in VERSIONS:
            raise NotAGguf(
                f"{self.path} is GGUF version {version}, which llama.cpp here does not read. "
                f"Download the model again from a newer, little-endian conversion."
            )
        n_tensors, n_keys = self.number("<Q"), self.number("<Q")
        if n_tensors > MAX_TENSORS or n_keys > MAX_KEYS:
            raise self.broken(f"claims {n_tensors} tensors and {n_keys} keys")
        return n_tensors, n_keys

    def key(self) -> None:
        key = self.text()
        kind = self.number("<I")
        if key == "tokenizer.ggml.tokens" and kind == ARRAY:
            self.vocabulary()
        elif kind == ARRAY:
            self.skip_array()
        elif kind == STRING:
            self.values[key] = self.text()
        elif kind in SCALARS:
            (self.values[key],) = struct.unpack(SCALARS[kind], self.take(struct.calcsize(SCALARS[kind])))
        else:
            raise self.broken(f"has a value of unknown type {kind}")

    def vocabulary(self) -> None:
        kind, count = self.array_start()
        if kind != STRING:
            raise self.broken("has a vocabulary that is not text")
        self.n_vocab = count
        self.markers = {token.decode() for token in self.texts(count) if token in MARKERS}

    def skip_array(self) -> None:
        kind, count = self.array_start()
        if kind in SCALARS:
            self.skip(count * struct.calcsize(SCALARS[kind]))
        elif kind == STRING:
            for _ in self.texts(count):
                pass
        else:
            raise self.broken(f"has an array of unknown type {kind}")

    def array_start(self) -> tuple[int, int]:
        kind, count = self.number("<I"), self.number("<Q")
        self.items += count
        if self.items > MAX_ITEMS:
            raise self.broken(f"claims an array of {count} items")
        return kind, count

    def texts(self, count: int) -> Iterator[bytes]:
        """The next `count` texts. A plain loop: a vocabulary and its merges are 300,000 of them."""
        length_of = struct.Struct("<Q").unpack
        for _ in range(count):
            (length,) = length_of(self.take(8))
            if length > MAX_TEXT:
                raise self.broken(f"claims a text of {length} bytes")
            yield self.take(length)

    def tensors(self, count: int) -> None:
        """Hold the file's size against where its tensors end: a download cut off anywhere is noticed."""
        ends = [0]
        for _ in range(count):
            self.text()
            n_dims = self.number("<I")
            if n_dims > 8:
                raise self.broken(f"has a tensor of {n_dims} dimensions")
            n_values = 1
            for _ in range(n_dims):
                n_values *= self.number("<Q")
            values, size = BLOCKS.get(self.number("<I"), (n_values or 1, 1))
            ends.append(self.number("<Q") + n_values // values * size)
        alignment = self.values.get("general.alignment", ALIGNMENT)
        step = alignment if isinstance(alignment, int) and alignment > 0 else ALIGNMENT
        start = -(-self.at // step) * step
        if count and start + max(ends) > self.size:
            raise NotAGguf(f"{self.path} is cut off: {self.size} bytes of {start + max(ends)}. Download it again.")

    def text(self) -> str:
        return next(self.texts(1)).decode(errors="replace")

    def number(self, layout: str) -> int:
        value: int
        (value,) = struct.unpack(layout, self.take(struct.calcsize(layout)))
        return value

    def take(self, length: int) -> bytes:
        data = self.file.read(length) if length <= self.size - self.at else b""
        if len(data) < length:
            raise NotAGguf(f"{self.path} ends in the middle of its head. It is cut off; download it again.")
        self.at += length
        return data

    def skip(self, length: int) -> None:
        if length > self.size - self.at:
            raise NotAGguf(f"{self.path} ends in the middle of its head. It is cut off; download it again.")
        self.file.seek(length, 1)
        self.at += length

    def broken(self, what: str) -> NotAGguf:
        return NotAGguf(f"{self.path} is damaged: it {what}. Download it again.")


@dataclass(frozen=True, slots=True)
class _Markers:
    """The FIM markers found in a vocabulary, as `fim.detect` asks for them; only their presence matters."""

    texts: set[str]
    bos: int | None = None

    def token_id(self, text: str) -> int | None:
        return 0 if text in self.texts else None
