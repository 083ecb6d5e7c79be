"""`codex-lsp demo`: from nothing to two completions on the screen, with what they cost."""

import argparse
import os
import sys
import time
from importlib import resources
from pathlib import Path

from codex_lsp import paths
from codex_lsp.asking import ask
from codex_lsp.client import Client
from codex_lsp.config import RECHECK_SECONDS, ConfigFiles
from codex_lsp.engine.probe import probe
from codex_lsp.host import LOOK_EVERY_S
from codex_lsp.models import commands, hardware, store
from codex_lsp.models.errors import ModelMissing

SAMPLES = ("inventory.py", "cart.ts")
CURSOR = "█"
GHOST, DIM, BOLD, RESET = "\x1b[32;1m", "\x1b[2m", "\x1b[1m", "\x1b[0m"


def run(model: str | None) -> int:
    """Get a model if there is none, start the daemon, complete the samples; returns the exit code.

    Raises ModelError, DaemonUnreachable or RequestFailed.
    """
    code = _get_model(model)
    if code:
        return code
    failed = False
    with Client() as client:
        for sample in SAMPLES:
            failed |= not _show(client, sample)
    print(_dim("To see this in your editor: README.md says how to set it up."))
    return int(failed)


def _get_model(wanted: str | None) -> int:
    """Make sure that the daemon will find a model: the one asked for, else the one set, else the best that fits."""
    setting = ConfigFiles(paths.config_file()).settings_for(None).model
    name = wanted or setting
    try:
        path = store.resolve(name)
    except ModelMissing:
        if not name:
            name = hardware.choose(hardware.detect(), gpu_usable=probe().gpu_usable).name
            print(f"No model is here yet. For this machine: {name}.")
        code = commands.model_pull(argparse.Namespace(source=name))
        if code:
            return code
        path = store.resolve(name)
    if wanted and wanted != setting:
        code = commands.model_use(argparse.Namespace(name=wanted))
        # A daemon that is running already looks at its settings now and then; asked before, it would still use the old.
        time.sleep(LOOK_EVERY_S + RECHECK_SECONDS)
        return code
    print(_dim(f"model: {path}"))
    return 0


def _show(client: Client, sample: str) -> bool:
    """Complete one sample and print it; whether there was a completion."""
    marked = resources.files("codex_lsp").joinpath("samples", f"{sample}.sample").read_text("utf-8")
    before, _, after = marked.partition(CURSOR)
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    answer = ask(client, Path.cwd() / "demo" / sample, before + after, line, column)
    completion = answer["completion"]
    print(f"\n{_styled(BOLD, sample)}")
    print(f"{before}{_styled(GHOST, completion or CURSOR)}{after}", end="")
    if not completion:
        print(f"codex-lsp: no completion: {answer['reason']}", file=sys.stderr)
        return False
    print(_dim(_cost(answer["engine"], answer["source"], answer["waited_ms"])))
    return True


def _cost(engine: dict[str, float] | None, source: str, waited_ms: float) -> str:
    if engine is None:
        return f"from the cache ({source}) in {waited_ms:.0f} ms"
    return (
        f"first token {engine['first_token_ms'] or 0:.0f} ms · total {engine['total_ms']:.0f} ms · "
        f"tokens: {engine['n_prefilled']} prefilled, {engine['n_reused']} reused, {engine['n_decoded']} decoded"
    )


def _dim(text: str) -> str:
    return _styled(DIM, text)


def _styled(style: str, text: str) -> str:
    """`text` in colour where colour is welcome (https://no-color.org), else between marks."""
    if os.environ.get("FORCE_COLOR") or (sys.stdout.isatty() and "NO_COLOR" not in os.environ):
        return f"{style}{text}{RESET}"
    return f"«{text}»" if style == GHOST else text
