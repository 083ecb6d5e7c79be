"""Writes a GGUF of about a megabyte that llama.cpp loads and decodes: real vocabulary, made-up weights.

The vocabulary is byte-level BPE, trained while it is written on sources of the running Python. Each token's
embedding points at the output row of the token that followed it most often in there, so greedy decoding gives
crumbs of Python; two layers of random weights on top make every token depend on the whole prompt, so that a
wrong KV cache shows in the text.
"""

import argparse
import re
import textwrap
from collections import Counter
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

import gguf
import numpy as np
import numpy.typing as npt

QWEN = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|fim_prefix|>",
    "<|fim_middle|>",
    "<|fim_suffix|>",
    "<|fim_pad|>",
    "<|repo_name|>",
    "<|file_sep|>",
)
STARCODER = ("<|endoftext|>", "<fim_prefix>", "<fim_middle>", "<fim_suffix>", "<fim_pad>", "<file_sep>")
CODESTRAL = ("</s>", "[PREFIX]", "[SUFFIX]", "[MIDDLE]")
SEED_CODER = ("<[end▁of▁sentence]>", "<[fim-prefix]>", "<[fim-suffix]>", "<[fim-middle]>")
NO_MARKERS = ("<|endoftext|>",)

N_CTX_TRAIN = 2048
N_MERGES = 1000
N_LAYER, N_EMBD, N_FF, N_HEAD, N_HEAD_KV = 2, 64, 128, 4, 2
# How strongly the layers stir what the embedding says: enough to make the context matter.
STIR = 0.3

Word = tuple[str, ...]
Pair = tuple[str, str]
Floats = npt.NDArray[np.float32]

# What the `qwen2` pre-tokenizer splits text into, as near as the standard library's `re` can say it.
_WORDS = re.compile(r"'(?:[sdmt]|ll|ve|re)|(?:[^\r\n\w]|_)?[^\W\d_]+|\d| ?[^\s\w]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+|_")


def write(path: Path, control_tokens: tuple[str, ...] = QWEN, seed: int = 0) -> Path:
    """Write the model to `path`. The first control token ends the text; the others are markers."""
    merges, follows = _trained()
    tokens = [*_byte_letters(), *("".join(pair) for pair in merges)]
    normal = len(tokens)
    tokens += control_tokens

    writer = gguf.GGUFWriter(path, "qwen2")
    writer.add_name("Tiny")
    writer.add_context_length(N_CTX_TRAIN)
    writer.add_embedding_length(N_EMBD)
    writer.add_block_count(N_LAYER)
    writer.add_feed_forward_length(N_FF)
    writer.add_head_count(N_HEAD)
    writer.add_head_count_kv(N_HEAD_KV)
    writer.add_rope_freq_base(10_000.0)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    kinds = [gguf.TokenType.NORMAL] * normal + [gguf.TokenType.CONTROL] * len(control_tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges([" ".join(pair) for pair in merges])
    writer.add_eos_token_id(normal)
    writer.add_add_bos_token(value=False)
    for name, tensor in _weights(tokens, follows, np.random.default_rng(seed)):
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _weights(tokens: list[str], follows: dict[str, str], random: np.random.Generator) -> Iterator[tuple[str, Floats]]:
    def matrix(rows: int, columns: int, scale: float = 1.0) -> Floats:
        values: Floats = random.standard_normal((rows, columns)).astype(np.float32)
        return values * np.float32(scale / columns**0.5)

    output = matrix(len(tokens), N_EMBD)
    output /= np.linalg.norm(output, axis=1, keepdims=True)
    ids = {token: i for i, token in enumerate(tokens)}
    # What followed nothing in the text, like a marker, is followed by a word, so that no completion is empty.
    successors = [ids[follows.get(token, "self")] for token in tokens]
    yield "token_embd.weight", output[successors]
    # Markers and odd bytes are never the likeliest: text goes on until a rule or the length ends it.
    output[np.setdiff1d(np.arange(len(tokens)), successors)] = 0
    yield "output.weight", output
    yield "output_norm.weight", np.ones(N_EMBD, np.float32)
    width_kv = N_EMBD // N_HEAD * N_HEAD_KV
    for layer in range(N_LAYER):
        block = f"blk.{layer}."
        yield block + "attn_norm.weight", np.ones(N_EMBD, np.float32)
        for name, rows in ("q", N_EMBD), ("k", width_kv), ("v", width_kv):
            yield f"{block}attn_{name}.weight", matrix(rows, N_EMBD)
            yield f"{block}attn_{name}.bias", np.zeros(rows, np.float32)
        yield block + "attn_output.weight", matrix(N_EMBD, N_EMBD, STIR)
        yield block + "ffn_norm.weight", np.ones(N_EMBD, np.float32)
        yield block + "ffn_gate.weight", matrix(N_FF, N_EMBD)
        yield block + "ffn_up.weight", matrix(N_FF, N_EMBD)
        yield block + "ffn_down.weight", matrix(N_EMBD, N_FF, STIR)


@cache
def _byte_letters() -> list[str]:
    """The letter that stands for each byte in a byte-level vocabulary: itself where it is printable (GPT-2)."""
    printable = {*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte if byte in printable else next(others)) for byte in range(256)]


@cache
def _trained() -> tuple[list[Pair], dict[str, str]]:
    """The merges in their order, and for each token the one that follows it most often in the text."""
    text = "".join(Path(str(module.__file__)).read_text("utf-8") for module in (argparse, textwrap))
    letters = _byte_letters()
    split = ["".join(letters[byte] for byte in word.encode()) for word in _WORDS.findall(text)]
    counts = Counter(split)
    words: dict[str, Word] = {word: tuple(word) for word in counts}
    pairs: Counter[Pair] = Counter()
    where: dict[Pair, set[str]] = {}

    def count(word: str, sign: int) -> None:
        for pair in pairwise(words[word]):
            pairs[pair] += sign * counts[word]
            where.setdefault(pair, set()).add(word)

    for word in words:
        count(word, 1)
    merges: list[Pair] = []
    while len(merges) < N_MERGES:
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        merges.append(best)
        for word in where[best]:
            count(word, -1)
            words[word] = _merge(words[word], best)
            count(word, 1)

    stream = [token for word in split for token in words[word]]
    follows: dict[str, str] = {}
    for (token, following), _ in Counter(pairwise(stream)).most_common():
        follows.setdefault(token, following)
    return merges, follows


def _merge(word: Word, pair: Pair) -> Word:
    merged: list[str] = []
    for token in word:
        if merged and (merged[-1], token) == pair:
            merged[-1] += token
        else:
            merged.append(token)
    return tuple(merged)
