"""An engine without a model: says what a test tells it to, and remembers what it was asked."""

import asyncio
from collections.abc import Callable, Sequence

from codex_lsp.engine.request import (
    Completion,
    EngineStatus,
    FinishReason,
    ModelInfo,
    OnPartial,
    Request,
)

INFO = ModelInfo(
    path="/models/fake.gguf",
    description="a fake",
    size_bytes=1,
    n_ctx=4096,
    n_ctx_train=4096,
    n_threads=2,
    gpu=False,
    family="fake",
    fim_order="psm",
    llama_cpp="none",
    system_info="",
    load_ms=0.0,
    prefill_per_s=200.0,
    decode_per_s=20.0,
)
READY = EngineStatus(state="ready", model_id="fake:1", progress=1.0, info=INFO)

Answer = str | Completion | Exception


def completion(text: str, finish_reason: FinishReason = FinishReason.STOP) -> Completion:
    """A completion with counts that a test can recognise in a sum."""
    return Completion(text, finish_reason, n_prompt=30, n_reused=20, n_prefilled=10, n_decoded=5, first_token_ms=1.0)


class FakeEngine:
    """`engine.request.Engine` for tests. `answer` is looked at when a request gets through the gate."""

    def __init__(self, answer: Callable[[Request], Answer] | Answer = "answer") -> None:
        self.answer = answer
        self.partials: Sequence[str] = ()
        self.status = READY
        self.requests: list[Request] = []
        self.cancelled: list[Request] = []
        self._open = asyncio.Event()
        self._open.set()
        self._happened = asyncio.Event()

    def hold(self) -> None:
        """Keep every request from now on until `release`."""
        self._open.clear()

    def release(self) -> None:
        """Let the requests that are held, and later ones, go on."""
        self._open.set()

    async def asked(self, n: int = 1) -> None:
        """Return once `n` requests have arrived in all."""
        await self._until(lambda: len(self.requests) >= n)

    async def gave_up(self, n: int = 1) -> None:
        """Return once `n` requests have been cancelled in all."""
        await self._until(lambda: len(self.cancelled) >= n)

    async def complete(self, request: Request, on_partial: OnPartial | None = None) -> Completion:
        """As `engine.request.Engine.complete`."""
        self.requests.append(request)
        self._happened.set()
        try:
            for text in self.partials:
                if on_partial is not None:
                    on_partial(text)
            await self._open.wait()
        except asyncio.CancelledError:
            self.cancelled.append(request)
            self._happened.set()
            raise
        answer = self.answer(request) if callable(self.answer) else self.answer
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, Completion) else completion(answer)

    async def _until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not true():
                self._happened.clear()
                await self._happened.wait()
