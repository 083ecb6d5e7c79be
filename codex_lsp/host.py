"""Keeps the engine that the user's settings ask for: none, this model, or another one from now on.

A model that is switched in the settings, pulled, or replaced on disk is noticed at the next request. The old
engine finishes what it holds while the new one loads.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from codex_lsp.engine.process import EngineProcess, model_id
from codex_lsp.engine.request import (
    Completion,
    EngineConfig,
    EngineStatus,
    FimOrder,
    ModelUnusable,
    OnPartial,
    Request,
)
from codex_lsp.models import catalogue, store
from codex_lsp.models.errors import ModelError
from codex_lsp.settings import Settings

log = logging.getLogger(__name__)

# How long a look at the settings and the model file stays good; a keystroke must not stat files each time.
LOOK_EVERY_S = 1.0


class EngineHost:
    """An `Engine` that outlives model switches. `settings` gives the user's own settings of the moment."""

    def __init__(self, settings: Callable[[], Settings], log_file: IO[bytes] | int) -> None:
        self._settings = settings
        self._log_file = log_file
        self._listeners: list[Callable[[EngineStatus], None]] = []
        self._engine: EngineProcess | None = None
        self._model_id = ""
        self._loaded_for: Settings | None = None
        self._problem = ""
        self._looked_at = float("-inf")
        self._draining: set[asyncio.Task[None]] = set()

    @property
    def status(self) -> EngineStatus:
        """The engine's state; "failed" with the next step when no model can be used."""
        if self._problem:
            return EngineStatus(state="failed", message=self._problem)
        return self._engine.status if self._engine is not None else EngineStatus()

    def listen(self, listener: Callable[[EngineStatus], None]) -> Callable[[], None]:
        """Call `listener` on every change of state; returns the function that ends it."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def wake(self) -> None:
        """Load the model if it is not loaded, so that the first key finds it ready."""
        now = time.monotonic()
        if now - self._looked_at < LOOK_EVERY_S:
            return
        self._looked_at = now
        settings = self._settings()
        if (
            self._engine is not None
            and settings == self._loaded_for
            and self._model_id == model_id(self._engine.config)
        ):
            return
        try:
            wanted = _wanted(settings)
        except ModelError as error:
            self._give_up(str(error))
            return
        self._problem = ""
        self._loaded_for = settings
        if self._engine is None or wanted != self._engine.config or model_id(wanted) != self._model_id:
            self._switch(wanted)

    async def complete(self, request: Request, on_partial: OnPartial | None = None) -> Completion:
        """As `request.Engine.complete`; raises ModelUnusable when there is no model."""
        self.wake()
        if self._engine is None:
            raise ModelUnusable(self._problem)
        return await self._engine.complete(request, on_partial)

    async def close(self) -> None:
        """End the engine and whatever is still draining."""
        if self._engine is not None:
            await self._engine.close()
        for task in self._draining:
            task.cancel()
        await asyncio.gather(*self._draining, return_exceptions=True)

    def _switch(self, config: EngineConfig) -> None:
        self._retire()
        log.info("loading %s", config.model_path)
        self._model_id = model_id(config)
        self._engine = EngineProcess(config, self._tell, self._log_file)
        self._engine.start()

    def _give_up(self, problem: str) -> None:
        if problem != self._problem:
            log.warning("no model: %s", problem)
        self._problem = problem
        self._retire()
        self._tell(self.status)

    def _retire(self) -> None:
        """Let the present engine, if there is one, finish in the background."""
        if self._engine is not None:
            task = asyncio.create_task(_drain(self._engine))
            self._draining.add(task)
            task.add_done_callback(self._draining.discard)
            self._engine = None

    def _tell(self, _: EngineStatus) -> None:
        for listener in list(self._listeners):
            listener(self.status)


def _wanted(settings: Settings) -> EngineConfig:
    path = store.resolve(settings.model)
    return EngineConfig(
        model_path=str(path),
        n_ctx=settings.n_ctx,
        n_threads=settings.threads,
        n_gpu_layers=settings.gpu_layers,
        fim_order=_known_order(path),
    )


def _known_order(path: Path) -> FimOrder | None:
    """The order that the catalogue records for exactly this file; otherwise the vocabulary decides."""
    known = catalogue.by_file(path.name)
    return known.fim if known is not None and known.size == path.stat().st_size else None


async def _drain(engine: EngineProcess) -> None:
    """Let an engine that is being replaced finish what it holds, then end it."""
    await engine.idle()
    await engine.close()
