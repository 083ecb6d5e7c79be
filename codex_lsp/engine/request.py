"""What the engine is asked and what it answers: plain data, no llama.cpp, no LSP.

EngineError            the engine cannot answer; the message says what to do
├── ModelUnusable      this file will not load, now or on the next try
└── EngineDied         the process ended under a request; a new one is on its way
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, Protocol

FimOrder = Literal["psm", "spm", "spm2", "prefix"]


class EngineError(Exception):
    """The engine cannot answer; the message says what failed and what to do next."""


class ModelUnusable(EngineError):
    """The model file will not load, and trying again would change nothing."""


class EngineDied(EngineError):
    """The engine's process ended while it held the request."""


class FinishReason(StrEnum):
    """Why a completion ended where it did."""

    END = "end"  # the model said so: an end-of-text or FIM token
    STOP = "stop"  # one of our rules in `stop` cut it
    LENGTH = "length"  # n_predict tokens, or half the context if that is less
    DEADLINE = "deadline"  # time is over; the text is what was ready
    CANCELLED = "cancelled"  # nobody waits any more


@dataclass(frozen=True, slots=True)
class Request:
    """One hole to fill.

    `prefix` and `suffix` are the text around the cursor with line ends as "\\n", already cut to the window.
    `base_indent` is the width in characters that later lines must at least be indented by to belong to the
    block at the cursor; None lets the text run to `n_predict`.
    """

    prefix: str
    suffix: str
    n_predict: int
    deadline_ms: int
    single_line: bool = False
    base_indent: int | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    """The middle that the model wrote, and what it cost.

    `n_prompt == n_reused + n_prefilled` unless the request ended during prefill. Times are milliseconds since
    the engine received the request; `first_token_ms` is None when it ended before one was decoded.
    """

    text: str
    finish_reason: FinishReason
    n_prompt: int = 0
    n_reused: int = 0
    n_prefilled: int = 0
    n_decoded: int = 0
    first_token_ms: float | None = None
    prefill_ms: float = 0.0
    total_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """What the engine process needs to load a model. Read once per load.

    `n_threads` 0 means one per physical core; `n_gpu_layers` -1 means all. `fim_order` None takes the
    vocabulary's usual order.
    """

    model_path: str
    n_ctx: int = 4096
    n_threads: int = 0
    n_gpu_layers: int = -1
    fim_order: FimOrder | None = None


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What was loaded, as `codex-lsp doctor` shows it. Speeds are tokens per second, kept current."""

    path: str
    description: str
    size_bytes: int
    n_ctx: int
    n_ctx_train: int
    n_threads: int
    gpu: bool
    family: str
    fim_order: FimOrder
    llama_cpp: str
    system_info: str
    load_ms: float
    prefill_per_s: float
    decode_per_s: float
    warnings: tuple[str, ...] = ()


EngineState = Literal["stopped", "loading", "ready", "failed"]


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """A moment of the engine's life: what the editor's progress bar and `daemon status` show.

    `model_id` names the model that answers are for, also before it is loaded: part of every cache key.
    """

    state: EngineState = "stopped"
    model_id: str = ""
    progress: float = 0.0
    message: str = ""
    info: ModelInfo | None = None
    pid: int | None = None
    n_restarts: int = 0


OnPartial = Callable[[str], None]


class Engine(Protocol):
    """What the daemon needs of an engine; tests have a fake one."""

    @property
    def status(self) -> EngineStatus:
        """The engine's state right now."""
        ...

    async def complete(self, request: Request, on_partial: OnPartial | None = None) -> Completion:
        """Fill the hole; `on_partial` gets the whole text so far after each token.

        Raises ModelUnusable or EngineDied. Cancelling the waiting task frees the engine at the next chunk or
        token; the caller does not wait for that.
        """
        ...
