"""llama.cpp itself, with a generated model: tokens, templates, bad files; and a look at the real 0.5B."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codex_lsp.engine.generation import Generator
from codex_lsp.engine.model import DecodeFailed, LlamaModel
from codex_lsp.engine.request import Completion, EngineConfig, FimOrder, ModelUnusable, Request
from tests import tiny_gguf as tiny_models
from tests.fakes import FakeClock

MARKERS = ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>")


def load(path: Path, fim_order: FimOrder | None = None, n_ctx: int = 256) -> LlamaModel:
    return LlamaModel(EngineConfig(str(path), n_ctx, n_threads=1, fim_order=fim_order), lambda _: None)


# Tokens


def test_a_marker_is_one_token_and_other_text_is_none(tiny: LlamaModel) -> None:
    ids = [tiny.token_id(marker) for marker in MARKERS]
    assert None not in ids
    assert len(set(ids)) == len(ids)
    assert tiny.token_id("self") is None, "a word is no marker, though it is one token"
    assert tiny.token_id("<|fim_nothing|>") is None


def test_a_marker_in_source_code_stays_text(tiny: LlamaModel) -> None:
    marker = "<|fim_middle|>"
    tokens = tiny.tokenize(f"MID = '{marker}'")
    assert tiny.token_id(marker) not in tokens
    assert b"".join(map(tiny.piece, tokens)).decode() == f"MID = '{marker}'"


def test_the_prompt_holds_each_marker_once_whatever_the_source_holds(tiny: LlamaModel) -> None:
    source = "".join(MARKERS)
    prompt: list[int] = []
    for part in tiny.template.render(source, source):
        prompt += [part] if isinstance(part, int) else tiny.tokenize(part)
    assert [prompt.count(tiny.token_id(marker) or -1) for marker in MARKERS] == [1, 1, 1]


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
@settings(max_examples=100, deadline=None)
def test_text_comes_back_whole_from_its_pieces(tiny: LlamaModel, text: str) -> None:
    assert b"".join(map(tiny.piece, tiny.tokenize(text))).decode() == text


def test_a_character_may_be_split_over_tokens(tiny: LlamaModel) -> None:
    pieces = [tiny.piece(token) for token in tiny.tokenize("😀")]
    assert len(pieces) > 1
    assert b"".join(pieces).decode() == "😀"


def test_half_a_surrogate_pair_is_tokenized_all_the_same(tiny: LlamaModel) -> None:
    assert tiny.tokenize("x = '\ud83d'") == tiny.tokenize("x = '?'")


def test_the_end_is_the_vocabularys_end_token_and_every_marker(tiny: LlamaModel) -> None:
    ends = [tiny.token_id(text) for text in ("<|endoftext|>", "<|file_sep|>", *MARKERS)]
    assert all(token is not None and tiny.is_end(token) for token in ends)
    assert not any(map(tiny.is_end, tiny.tokenize("def f(x):\n")))


def test_a_decode_at_a_wrong_position_is_an_error_and_not_the_end(tiny: LlamaModel) -> None:
    tiny.truncate(0, 0)
    tokens = tiny.tokenize("import os")
    first = tiny.decode(0, 0, tokens, sample=True, start=b"", n_threads=1)
    with pytest.raises(DecodeFailed):
        tiny.decode(0, 1, tokens, sample=True, start=b"", n_threads=1)
    tiny.truncate(0, 0)
    assert tiny.decode(0, 0, tokens, sample=True, start=b"", n_threads=1) == first


# Templates


@pytest.mark.parametrize(
    ("control_tokens", "family"),
    [
        (tiny_models.QWEN, "qwen2.5-coder"),
        (tiny_models.STARCODER, "starcoder"),
        (tiny_models.CODESTRAL, "codestral"),
        (tiny_models.SEED_CODER, "seed-coder"),
        (tiny_models.NO_MARKERS, "none"),
    ],
)
def test_the_family_is_read_from_the_vocabulary(tmp_path: Path, control_tokens: tuple[str, ...], family: str) -> None:
    # The name lies on purpose.
    model = load(tiny_models.write(tmp_path / "qwen2.5-coder-codestral.gguf", control_tokens))
    assert (model.template.family, model.info.family) == (family, family)
    assert (model.template.order == "prefix") == (family == "none")
    assert ("no fill-in-the-middle" in " ".join(model.info.warnings)) == (family == "none")


def test_the_order_can_be_chosen(tiny_gguf: Path) -> None:
    assert load(tiny_gguf, "spm2").template.order == "spm2"


def test_what_was_loaded_is_described(tiny_gguf: Path) -> None:
    info = load(tiny_gguf, n_ctx=1 << 20).info
    assert (info.path, info.size_bytes) == (str(tiny_gguf), tiny_gguf.stat().st_size)
    assert info.n_ctx == info.n_ctx_train == tiny_models.N_CTX_TRAIN
    assert info.n_threads == 1
    assert "CPU" in info.system_info


# Files that are no models


def not_gguf(path: Path, good: bytes) -> None:
    path.write_bytes(b"<html>404</html>" * 1000)


def empty(path: Path, good: bytes) -> None:
    path.write_bytes(b"")


def folder(path: Path, good: bytes) -> None:
    path.mkdir()


def missing(path: Path, good: bytes) -> None:
    pass


def cut_to(share: float) -> Callable[[Path, bytes], None]:
    def truncated(path: Path, good: bytes) -> None:
        path.write_bytes(good[: int(len(good) * share)])

    return truncated


def other_version(path: Path, good: bytes) -> None:
    path.write_bytes(good[:4] + b"\x63\x00\x00\x00" + good[8:])


BAD_FILES = {
    "not a GGUF": not_gguf,
    "empty": empty,
    "a folder": folder,
    "missing": missing,
    "cut in the header": cut_to(0.00001),
    "cut in the vocabulary": cut_to(0.01),
    "cut in the weights": cut_to(0.5),
    "cut near the end": cut_to(0.999),
    "of another version": other_version,
}


@pytest.mark.parametrize("make", BAD_FILES.values(), ids=BAD_FILES.keys())
def test_a_bad_file_is_named_and_the_next_step_is_said(
    tmp_path: Path, tiny_gguf: Path, make: Callable[[Path, bytes], None]
) -> None:
    path = tmp_path / "bad.gguf"
    make(path, tiny_gguf.read_bytes())
    with pytest.raises(ModelUnusable) as raised:
        load(path)
    message = str(raised.value)
    assert "bad.gguf" in message
    assert "codex-lsp model" in message
    assert "no reason" not in message
    assert "\n" not in message


# The real model


@pytest.fixture(scope="module")
def real(real_model: Path) -> LlamaModel:
    return LlamaModel(EngineConfig(str(real_model), n_ctx=512), lambda _: None)


def fill(model: LlamaModel, prefix: str, suffix: str, *, single_line: bool = True) -> Completion:
    request = Request(prefix, suffix, n_predict=16, deadline_ms=60_000, single_line=single_line)
    return Generator(model, FakeClock()).complete(request, 0, lambda: False, lambda _: None)


@pytest.mark.model
def test_the_real_model_is_qwens_and_knows_its_markers(real: LlamaModel) -> None:
    assert real.template.family == "qwen2.5-coder"
    assert None not in [real.token_id(marker) for marker in MARKERS]
    assert real.token_id("<|fim_middle|>") not in real.tokenize("<|fim_middle|>")
    assert real.info.n_ctx == 512 < real.info.n_ctx_train
    assert real.info.warnings == ()


@pytest.mark.model
def test_the_real_model_fills_a_hole_from_both_sides(real: LlamaModel) -> None:
    done = fill(real, "def add(first, second):\n    return ", "\n\n\nprint(add(1, 2))\n")
    assert done.text.strip() == "first + second"
