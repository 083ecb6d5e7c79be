"""llama.cpp: the only module that imports it, on its low-level API.

The high-level `Llama` class knows one sequence, keeps no slots, and fills FIM ids with zeros; what is needed here
is small: tokenize, decode a few tokens of one sequence, take the likeliest next one.
"""

import ctypes
import functools
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import llama_cpp
import psutil
from llama_cpp import llama_cpp as c

from codex_lsp.engine import fim
from codex_lsp.engine.healing import PieceIndex
from codex_lsp.engine.kv_cache import N_SLOTS
from codex_lsp.engine.probe import Probe
from codex_lsp.engine.request import EngineConfig, ModelInfo, ModelUnusable

# The most tokens one llama_decode takes; prefill slices are smaller on slow machines.
N_BATCH = 512
# Twice the longest of Qwen2.5's 152 thousand tokens; a longer one gets a buffer of its own.
PIECE_BYTES = 256
# ggml's log level for errors, from ggml.h.
LOG_ERROR = 4

OnProgress = Callable[[float], None]


class DecodeFailed(Exception):
    """llama_decode refused a batch; what the KV cache holds is unknown from here on."""


class LlamaModel:
    """A loaded model with its context: the engine's `Model`, `Vocabulary` and `Memory`.

    Raises ModelUnusable when the file does not load, with llama.cpp's own last words.
    """

    def __init__(self, config: EngineConfig, on_progress: OnProgress) -> None:
        began = time.perf_counter()
        path = Path(config.model_path)
        if not path.is_file():
            raise ModelUnusable(f"{path} is not there. `codex-lsp model list` shows what is installed.")
        log = _LlamaLog()
        self._model = _load(path, config, on_progress, log)
        self._vocab = c.llama_model_get_vocab(self._model)
        self._buffer = ctypes.create_string_buffer(PIECE_BYTES)
        self._context = _new_context(self._model, config, log)
        self._memory = c.llama_get_memory(self._context)
        self._sampler = c.llama_sampler_init_greedy()
        self._batch = c.llama_batch_init(N_BATCH, 0, 1)
        self.n_ctx: int = c.llama_n_ctx(self._context)
        self.n_threads = n_threads(config)
        self.template = fim.detect(self, config.fim_order)
        n_vocab = c.llama_vocab_n_tokens(self._vocab)
        self._pieces = PieceIndex((self._piece(token), token) for token in range(n_vocab))
        self.info = self._describe(path, config, (time.perf_counter() - began) * 1000)

    # Vocabulary

    @property
    def bos(self) -> int | None:
        """The token that starts every prompt, for models trained with one."""
        return int(c.llama_vocab_bos(self._vocab)) if c.llama_vocab_get_add_bos(self._vocab) else None

    def token_id(self, text: str) -> int | None:
        """The id of the control token written `text`; None when `text` is several tokens or plain text."""
        ids = self._tokenize(text, special=True)
        if len(ids) == 1 and c.llama_vocab_is_control(self._vocab, ids[0]):
            return ids[0]
        return None

    def tokenize(self, text: str) -> list[int]:
        """`text` as tokens, with special parsing off: `<|fim_middle|>` in a source file stays text."""
        return self._tokenize(text, special=False)

    def is_end(self, token: int) -> bool:
        """Whether the model ends its text here, with an end-of-text token or one of our markers."""
        return token in self.template.stop_ids or bool(c.llama_vocab_is_eog(self._vocab, token))

    @functools.lru_cache(maxsize=4096)  # noqa: B019 - one model per process, as old as the process
    def piece(self, token: int) -> bytes:
        """The bytes a token stands for; several tokens may share one UTF-8 character."""
        return self._piece(token)

    def _piece(self, token: int) -> bytes:
        length = c.llama_token_to_piece(self._vocab, token, self._buffer, len(self._buffer), 0, False)
        if length < 0:
            self._buffer = ctypes.create_string_buffer(-length)
            length = c.llama_token_to_piece(self._vocab, token, self._buffer, len(self._buffer), 0, False)
        return self._buffer.raw[:length]

    # Decoding

    def decode(
        self, seq_id: int, n_past: int, tokens: Sequence[int], *, sample: bool, start: bytes, n_threads: int
    ) -> int | None:
        """Append `tokens` (at most `N_BATCH`) to a sequence that holds `n_past`; the likeliest next one if asked.

        That one begins with `start`, or is a beginning of it, wherever the vocabulary has such a token.
        Raises DecodeFailed.
        """
        c.llama_set_n_threads(self._context, n_threads, n_threads)
        batch = self._batch
        batch.n_tokens = len(tokens)
        for i, token in enumerate(tokens):
            batch.token[i] = token
            batch.pos[i] = n_past + i
            batch.n_seq_id[i] = 1
            batch.seq_id[i][0] = seq_id
            batch.logits[i] = 0
        batch.logits[len(tokens) - 1] = int(sample)
        status = c.llama_decode(self._context, batch)
        if status != 0:
            raise DecodeFailed(f"llama_decode returned {status} for {len(tokens)} tokens at position {n_past}")
        if not sample:
            c.llama_synchronize(self._context)
            return None
        if start and (allowed := self._pieces.compatible(start)):
            logits = c.llama_get_logits_ith(self._context, -1)
            return max(allowed, key=lambda token: float(logits[token]))
        return int(c.llama_sampler_sample(self._sampler, self._context, -1))

    def truncate(self, seq_id: int, n_past: int) -> bool:
        """Drop a sequence's positions from `n_past` on; False when this memory cannot drop a part."""
        return bool(c.llama_memory_seq_rm(self._memory, seq_id, n_past, -1))

    def _tokenize(self, text: str, *, special: bool) -> list[int]:
        data = text.encode("utf-8", "replace")
        room = len(data) + 16
        ids = (c.llama_token * room)()
        n = c.llama_tokenize(self._vocab, data, len(data), ids, room, False, special)
        return list(ids[: max(0, n)])

    def _describe(self, path: Path, config: EngineConfig, load_ms: float) -> ModelInfo:
        description = ctypes.create_string_buffer(128)
        c.llama_model_desc(self._model, description, len(description))
        return ModelInfo(
            path=str(path),
            description=description.value.decode("utf-8", "replace"),
            size_bytes=path.stat().st_size,
            n_ctx=self.n_ctx,
            n_ctx_train=int(c.llama_model_n_ctx_train(self._model)),
            n_threads=self.n_threads,
            gpu=bool(c.llama_supports_gpu_offload()) and config.n_gpu_layers != 0,
            family=self.template.family,
            fim_order=self.template.order,
            llama_cpp=llama_cpp.__version__,
            system_info=system_info(),
            load_ms=load_ms,
            prefill_per_s=0.0,
            decode_per_s=0.0,
            warnings=tuple(self._warnings()),
        )

    def _warnings(self) -> list[str]:
        found = []
        if self.template.order == "prefix":
            found.append(
                "This model has no fill-in-the-middle tokens: it sees only the text before the cursor. "
                "`codex-lsp model list` names models that see both sides."
            )
        if c.llama_model_n_swa(self._model) > 0 or c.llama_model_is_recurrent(self._model):
            found.append(
                "This model's memory cannot drop a part of its text, so an edit reads the whole prompt again; "
                "a model with plain attention answers sooner."
            )
        return found


def n_threads(config: EngineConfig) -> int:
    """The threads to compute with: what the user set, else one per physical core this process may use."""
    if config.n_threads:
        return config.n_threads
    allowed = len(psutil.Process().cpu_affinity()) if hasattr(psutil.Process, "cpu_affinity") else 1 << 16
    return max(1, min(psutil.cpu_count(logical=False) or psutil.cpu_count() or 1, allowed))


def system_info() -> str:
    """llama.cpp's own line about the CPU features and backends it was built with."""
    return str(c.llama_print_system_info().decode("utf-8", "replace")).strip()


def probe() -> Probe:
    """What this build of llama.cpp is and can do."""
    return Probe(
        version=llama_cpp.__version__,
        system_info=system_info(),
        gpu_usable=bool(c.llama_supports_gpu_offload()),
    )


class _LlamaLog:
    """Keeps llama.cpp's last errors, to explain a failed load; the rest of its chatter is dropped."""

    def __init__(self) -> None:
        self._tail: deque[str] = deque(maxlen=6)
        self._callback = c.llama_log_callback(self._on_line)
        c.llama_log_set(self._callback, ctypes.c_void_p(0))
        _keep_alive.append(self._callback)

    def last_words(self) -> str:
        """The first of its last errors, which names the cause; one line."""
        return self._tail[0] if self._tail else "llama.cpp gave no reason"

    def _on_line(self, level: int, text: bytes, _: object) -> None:
        if level == LOG_ERROR:
            self._tail.append(text.decode("utf-8", "replace").strip())


# llama.cpp may log at any time until the process ends, so the callback must live as long.
_keep_alive: list[Any] = []


def _load(path: Path, config: EngineConfig, on_progress: OnProgress, log: _LlamaLog) -> Any:
    def report(progress: float, _: object) -> bool:
        on_progress(progress)
        return True

    c.llama_backend_init()
    params = c.llama_model_default_params()
    params.n_gpu_layers = config.n_gpu_layers
    params.progress_callback = callback = c.llama_progress_callback(report)
    model = c.llama_model_load_from_file(str(path).encode(), params)
    del callback
    if not model:
        raise ModelUnusable(
            f"{path.name} does not load: {log.last_words()}. Remove it and pull it again, or choose another with "
            "`codex-lsp model use NAME`."
        )
    return model


def _new_context(model: Any, config: EngineConfig, log: _LlamaLog) -> Any:
    params = c.llama_context_default_params()
    params.n_ctx = min(config.n_ctx, c.llama_model_n_ctx_train(model))
    params.n_batch = params.n_ubatch = N_BATCH
    params.n_seq_max = N_SLOTS
    params.kv_unified = True
    # One row of logits is ever looked at; room for a whole batch would be 300 MB with a large vocabulary.
    params.n_outputs_max = N_SLOTS
    params.n_threads = params.n_threads_batch = n_threads(config)
    params.no_perf = True
    context = c.llama_init_from_model(model, params)
    if not context:
        raise ModelUnusable(
            f"There is no memory for a context of {params.n_ctx} tokens ({log.last_words()}). Set a smaller "
            "`n_ctx` in your settings or choose a smaller model with `codex-lsp model use NAME`."
        )
    return context
