import contextlib
import struct
import time
from pathlib import Path

import gguf as reference
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codex_lsp.models import gguf
from codex_lsp.models.errors import NotAGguf
from tests.models.conftest import gguf_bytes, text, texts

# Smaller than a real one, so that every length of it can be tried.
SMALL = gguf_bytes(values=8)


def written(folder: Path, content: bytes) -> Path:
    path = folder / "model.gguf"
    path.write_bytes(content)
    return path


def test_the_head_says_what_the_model_is(tmp_path: Path) -> None:
    info = gguf.read(written(tmp_path, SMALL))

    assert (info.architecture, info.name, info.context_length) == ("qwen2", "Tiny", 32768)
    assert (info.n_vocab, info.fim_family, info.knows_holes) == (6, "qwen2.5-coder", True)
    assert info.size == len(SMALL)


def test_version_2_is_read_too(tmp_path: Path) -> None:
    assert gguf.read(written(tmp_path, gguf_bytes(version=2))).name == "Tiny"


def test_a_vocabulary_without_all_markers_knows_no_holes(tmp_path: Path) -> None:
    info = gguf.read(written(tmp_path, gguf_bytes(tokens=("<|fim_prefix|>", "<|fim_suffix|>"))))

    assert not info.knows_holes


@pytest.mark.parametrize(
    ("tokens", "family"),
    [
        (("<fim_prefix>", "<fim_suffix>", "<fim_middle>"), "starcoder"),
        (("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"), "codegemma"),
        (("[PREFIX]", "[SUFFIX]"), "codestral"),
        (("<[fim-prefix]>", "<[fim-suffix]>", "<[fim-middle]>"), "seed-coder"),
    ],
)
def test_the_family_is_the_engines(tmp_path: Path, tokens: tuple[str, ...], family: str) -> None:
    assert gguf.read(written(tmp_path, gguf_bytes(tokens=tokens))).fim_family == family


def test_a_file_cut_off_at_any_byte_is_refused(tmp_path: Path) -> None:
    for length in range(len(SMALL)):
        with pytest.raises(NotAGguf):
            gguf.read(written(tmp_path, SMALL[:length]))


def test_bytes_after_the_last_tensor_are_no_fault(tmp_path: Path) -> None:
    assert gguf.read(written(tmp_path, gguf_bytes(padding=7))).name == "Tiny"


def header(version: int = 3, tensors: int = 0, keys: int = 1) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, keys)


HOSTILE = {
    "empty": b"",
    "a web page": b"<!DOCTYPE html><html>please log in</html>",
    "version 1": header(version=1),
    "big endian": b"GGUF" + struct.pack(">IQQ", 3, 0, 0),
    "tensors without end": header(tensors=1 << 60),
    "keys without end": header(keys=1 << 60),
    "a key longer than the file": header() + struct.pack("<Q", 1 << 62),
    "a text of a gigabyte": header() + text("general.name") + struct.pack("<IQ", 8, 1 << 30),
    "an array without end": header() + text("x") + struct.pack("<IIQ", 9, 8, 1 << 60),
    "numbers without end": header() + text("x") + struct.pack("<IIQ", 9, 10, 3_999_999),
    "an array of arrays": header() + text("x") + struct.pack("<IIQ", 9, 9, 1),
    "an unknown type": header() + text("x") + struct.pack("<I", 77),
    "a vocabulary of numbers": header() + text("tokenizer.ggml.tokens") + struct.pack("<IIQI", 9, 4, 1, 1),
    "many dimensions": header(tensors=1, keys=0) + text("t") + struct.pack("<I", 1 << 31),
    "a tensor outside": header(tensors=1, keys=0) + text("t") + struct.pack("<IQIQ", 1, 1, 0, 1 << 50),
    "an endless tensor": header(tensors=1, keys=0) + text("t") + struct.pack("<IQQIQ", 2, 1 << 62, 1 << 62, 0, 0),
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_file_is_refused_at_once(tmp_path: Path, content: bytes) -> None:
    path = written(tmp_path, content)
    started = time.process_time()

    with pytest.raises(NotAGguf, match=r"model\.gguf"):
        gguf.read(path)

    assert time.process_time() - started < 0.5


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, len(SMALL) - 1), value=st.binary(min_size=1, max_size=8))
def test_a_damaged_file_is_read_or_refused_but_never_crashes(tmp_path: Path, at: int, value: bytes) -> None:
    damaged = SMALL[:at] + value + SMALL[at + len(value) :]

    with contextlib.suppress(NotAGguf):
        gguf.read(written(tmp_path, damaged))


def test_a_missing_file_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(NotAGguf, match="cannot be read: No such file"):
        gguf.read(tmp_path / "nowhere.gguf")


def test_block_sizes_are_those_of_the_reference() -> None:
    sizes = {kind.value: size for kind, size in reference.GGML_QUANT_SIZES.items()}

    assert {kind: sizes[reference.GGMLQuantizationType(kind)] for kind in gguf.BLOCKS} == gguf.BLOCKS


def test_a_file_of_the_reference_writer_is_whole_and_one_byte_less_is_not(tmp_path: Path) -> None:
    path = tmp_path / "reference.gguf"
    writer = reference.GGUFWriter(path, "llama")
    writer.add_context_length(2048)
    writer.add_token_list(["a", "<fim_prefix>", "<fim_middle>", "<fim_suffix>"])
    writer.add_tensor("first", np.ones((3, 5), np.float32))
    writer.add_tensor("second", np.ones(9, np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

    info = gguf.read(path)
    assert (info.architecture, info.context_length, info.fim_family) == ("llama", 2048, "starcoder")

    data_end = path.stat().st_size - (-18 % 32)  # the writer pads the last tensor
    path.write_bytes(path.read_bytes()[: data_end - 1])
    with pytest.raises(NotAGguf, match="cut off"):
        gguf.read(path)


def test_a_vocabulary_of_qwens_size_takes_well_under_a_second(tmp_path: Path) -> None:
    keys = [
        text("tokenizer.ggml.tokens") + texts(tuple(f"token{number}" for number in range(151_936))),
        text("tokenizer.ggml.merges") + texts(tuple(f"to ken{number}" for number in range(151_387))),
    ]
    path = written(tmp_path, header(keys=2) + b"".join(keys))
    started = time.process_time()

    assert gguf.read(path).n_vocab == 151_936
    assert time.process_time() - started < 1.0
