"""One completion, from text to text: render, fit, prefill what is missing, decode until something says stop.

    request ─ render ─ tokens ─┬─ shared with a slot: reused ─┐
                               └─ the rest: prefilled in slices ─┴─ decode, a token at a time ─ text
                                   └ cancel and deadline are looked at between slices and between tokens

It knows no llama.cpp, only the `Model` protocol, so the tests drive it with scripted tokens.
"""

import codecs
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from codex_lsp.engine.fim import Template
from codex_lsp.engine.healing import Held, split_indentation
from codex_lsp.engine.kv_cache import KVCache, Memory, Slot
from codex_lsp.engine.request import Completion, FinishReason, OnPartial, Request
from codex_lsp.engine.stop import StopRules
from codex_lsp.engine.threads import ThreadGovernor

# A slice should take about this long, so that a cancel is noticed soon and a slice is still worth its overhead.
SLICE_S = 0.25
MIN_SLICE, MAX_SLICE = 16, 512
# Twice the longest of Qwen2.5's 152 thousand tokens.
MAX_TOKEN_CHARS = 256
# How much a new measurement of speed counts against the older ones.
SPEED_WEIGHT = 0.3


class Model(Memory, Protocol):
    """What generation needs of llama.cpp."""

    n_ctx: int
    n_threads: int
    template: Template

    def tokenize(self, text: str) -> list[int]:
        """`text` as tokens, special parsing off."""
        ...

    def is_end(self, token: int) -> bool:
        """Whether the model ends its text with this token."""
        ...

    def piece(self, token: int) -> bytes:
        """The bytes the token stands for."""
        ...

    def decode(
        self, seq_id: int, n_past: int, tokens: Sequence[int], *, sample: bool, start: bytes, n_threads: int
    ) -> int | None:
        """Append tokens to a sequence; the likeliest next token that agrees with `start`, if asked for."""
        ...


@dataclass(slots=True)
class Speed:
    """Tokens per second, kept current from real work."""

    prefill_per_s: float = 0.0
    decode_per_s: float = 0.0

    def saw_prefill(self, n_tokens: int, seconds: float) -> None:
        """Count a prefill slice."""
        self.prefill_per_s = _blend(self.prefill_per_s, n_tokens / max(seconds, 1e-6))

    def saw_decode(self, n_tokens: int, seconds: float) -> None:
        """Count a run of single-token decodes."""
        if n_tokens >= 2:
            self.decode_per_s = _blend(self.decode_per_s, n_tokens / max(seconds, 1e-6))

    @property
    def slice(self) -> int:
        """How many tokens to prefill between two looks at the cancel flag."""
        return max(MIN_SLICE, min(MAX_SLICE, int(self.prefill_per_s * SLICE_S)))


class Generator:
    """Fills holes one after the other, keeping the KV cache warm between them."""

    def __init__(self, model: Model, clock: Callable[[], float] = time.perf_counter) -> None:
        self._model = model
        self._kv_cache = KVCache(model, model.n_ctx)
        self._clock = clock
        self._prefill_threads = ThreadGovernor(model.n_threads, n_look_steps=1, clock=clock)
        self._decode_threads = ThreadGovernor(model.n_threads, n_look_steps=2, clock=clock)
        self.speed = Speed()

    def complete(
        self,
        request: Request,
        received_at: float,
        cancelled: Callable[[], bool],
        on_partial: OnPartial,
    ) -> Completion:
        """The completion of one request. `received_at` is when it came in, by this generator's clock."""
        # More would leave no room for the prompt.
        request = replace(request, n_predict=min(request.n_predict, self._model.n_ctx // 2))
        run = _Run(request, received_at, cancelled, on_partial, self._clock)
        prefix, held = self._hold_back(request.prefix)
        # Healing may take a token for each byte that is held back, on top of the text.
        n_answer = request.n_predict + len(held.token)
        prompt = self._fit(prefix, request.suffix, n_answer)
        if ended := run.ended():
            return run.completion(ended, "", n_prompt=len(prompt))
        slot = self._kv_cache.acquire(prompt, n_answer)
        try:
            run.n_reused = len(slot.tokens)
            token = self._prefill(slot, prompt, held, run)
            if token is None:
                return run.completion(run.ended() or FinishReason.DEADLINE, "", n_prompt=len(prompt))
            reason, text = self._decode(slot, token, held, run)
        except Exception:
            # After a failed decode nobody knows what the cache holds.
            self._kv_cache.clear()
            raise
        return run.completion(reason, text, n_prompt=len(prompt))

    def _hold_back(self, prefix: str) -> tuple[str, Held]:
        """The prefix to prompt with, and what of it the answer is to begin with."""
        prefix, indentation = split_indentation(prefix)
        if not prefix or prefix.endswith("\n"):
            return prefix, Held(indentation=indentation)
        # A token is shorter than this; the rest of the prefix need not be tokenized twice.
        last = self._model.piece(self._model.tokenize(prefix[-MAX_TOKEN_CHARS:])[-1])
        text = last.decode("utf-8", "ignore")
        whole = text != "" and text.encode() == last
        if not whole or not prefix.endswith(text) or "\n" in text:
            return prefix, Held()
        return prefix[: -len(text)], Held(token=last)

    def _fit(self, prefix: str, suffix: str, n_answer: int) -> list[int]:
        """The prompt's tokens. The window was chosen to fit; text of odd density is cut here to be sure."""
        room = self._model.n_ctx - n_answer - 8
        prompt = self._tokens(prefix, suffix)
        while len(prompt) > room:
            prefix = prefix[len(prefix) // 4 + 1 :]
            suffix = suffix[: len(suffix) * 3 // 4]
            prompt = self._tokens(prefix, suffix)
        return prompt

    def _tokens(self, prefix: str, suffix: str) -> list[int]:
        tokens: list[int] = []
        for part in self._model.template.render(prefix, suffix):
            tokens += [part] if isinstance(part, int) else self._model.tokenize(part)
        # An empty file has an empty prompt in prefix order, and llama.cpp needs one token to predict from.
        return tokens or self._model.tokenize("\n")

    def _prefill(self, slot: Slot, prompt: Sequence[int], held: Held, run: "_Run") -> int | None:
        """Bring the slot up to the whole prompt; the first token of the middle, or None if the run ended first."""
        began = self._clock()
        token = None
        while len(slot.tokens) < len(prompt):
            if run.ended():
                return None
            n_past = len(slot.tokens)
            piece = prompt[n_past : n_past + self.speed.slice]
            last = n_past + len(piece) == len(prompt)
            token = self._step(slot, piece, sample=last, start=held.token)
            run.n_prefilled += len(piece)
        run.prefill_ms = (self._clock() - began) * 1000
        return token

    def _decode(self, slot: Slot, token: int, held: Held, run: "_Run") -> tuple[FinishReason, str]:
        """Decode the middle until the model, a rule, the length, the deadline or a cancel ends it."""
        rules = StopRules.of(run.request.suffix, run.request.single_line, run.request.base_indent)
        utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        answer, written, text, n_healing = b"", "", "", 0
        began = self._clock()
        run.saw_first_token()
        try:
            while True:
                if self._model.is_end(token):
                    return FinishReason.END, text
                run.n_decoded += 1
                piece = self._model.piece(token)
                missing = held.missing(answer)
                n_healing += bool(missing)
                answer += piece
                written += utf8.decode(piece[len(missing) :])
                after = held.take_off(written)
                if after is None:
                    return FinishReason.STOP, ""
                text = after
                cut = rules.cut(text)
                if cut is not None:
                    return FinishReason.STOP, text[:cut]
                run.on_partial(text)
                if run.n_decoded - n_healing >= run.request.n_predict:
                    return FinishReason.LENGTH, text
                if ended := run.ended():
                    return ended, text
                following = self._step(slot, [token], sample=True, start=held.missing(answer))
                if following is None:
                    raise RuntimeError("a sampled decode gives a token")
                token = following
        finally:
            self.speed.saw_decode(run.n_decoded - 1, self._clock() - began)

    def _step(self, slot: Slot, tokens: Sequence[int], *, sample: bool, start: bytes) -> int | None:
        """Append tokens to a slot, timed; the likeliest next token that agrees with `start`, if asked for."""
        # A few tokens cost about what one does: they are no measure of how a long slice runs.
        long = len(tokens) >= MIN_SLICE
        threads = self._prefill_threads if long else self._decode_threads
        began = self._clock()
        token = self._model.decode(
            slot.seq_id, len(slot.tokens), tokens, sample=sample, start=start, n_threads=threads.n_threads
        )
        seconds = self._clock() - began
        slot.tokens += tokens
        if long:
            self.speed.saw_prefill(len(tokens), seconds)
        if long or len(tokens) == 1:
            threads.saw(len(tokens), seconds)
        return token


class _Run:
    """The book-keeping of one request while it runs."""

    def __init__(
        self,
        request: Request,
        received_at: float,
        cancelled: Callable[[], bool],
        on_partial: OnPartial,
        clock: Callable[[], float],
    ) -> None:
        self.request = request
        self.on_partial = on_partial
        self.n_reused = self.n_prefilled = self.n_decoded = 0
        self.prefill_ms = 0.0
        self._received_at = received_at
        self._first_token_ms: float | None = None
        self._cancelled = cancelled
        self._clock = clock

    def ended(self) -> FinishReason | None:
        """Why to stop now, if there is a reason outside the text."""
        if self._cancelled():
            return FinishReason.CANCELLED
        if self._elapsed_ms() >= self.request.deadline_ms:
            return FinishReason.DEADLINE
        return None

    def saw_first_token(self) -> None:
        self._first_token_ms = self._elapsed_ms()

    def completion(self, reason: FinishReason, text: str, n_prompt: int) -> Completion:
        return Completion(
            text=text,
            finish_reason=reason,
            n_prompt=n_prompt,
            n_reused=self.n_reused,
            n_prefilled=self.n_prefilled,
            n_decoded=self.n_decoded,
            first_token_ms=self._first_token_ms,
            prefill_ms=self.prefill_ms,
            total_ms=self._elapsed_ms(),
        )

    def _elapsed_ms(self) -> float:
        return (self._clock() - self._received_at) * 1000


def _blend(old: float, new: float) -> float:
    return new if old == 0 else old + SPEED_WEIGHT * (new - old)
