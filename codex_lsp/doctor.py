"""`codex-lsp doctor`: what was found, chosen and measured, and what to do about anything wrong."""

import json
import platform
import sys
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from codex_lsp import __version__, methods, paths
from codex_lsp.client import Client, RequestFailed
from codex_lsp.config import ConfigFiles
from codex_lsp.connect import DaemonUnreachable, connect
from codex_lsp.context.window import COLD_PREFILL_S, affordable_tokens
from codex_lsp.engine.probe import Probe, probe
from codex_lsp.models import gguf, hardware, store
from codex_lsp.models.errors import ModelError

PACKAGES = ("pygls", "lsprotocol", "llama-cpp-python", "diskcache")
# Below this a suggestion of one line takes longer than people pause.
SLOW_DECODE_PER_S = 8.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report. `advice` is what to do when it is not `ok`."""

    name: str
    value: str
    ok: bool = True
    advice: str = ""


def run(*, as_json: bool) -> int:
    """Print the report; exit code 1 when something keeps suggestions from coming."""
    findings = examine()
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        for finding in findings:
            print(f"{'✓' if finding.ok else '✗'} {finding.name:<12} {finding.value}")
            if finding.advice:
                print(f"  {'':<12} → {finding.advice}")
    return 0 if all(finding.ok for finding in findings) else 1


def examine() -> list[Finding]:
    """Look at everything in the order in which it is needed."""
    llama = probe()
    model = _model()
    return [
        *_versions(),
        *_llama(llama),
        *_machine(llama),
        *_settings(),
        model,
        *_daemon(with_model=model.ok),
    ]


def _versions() -> list[Finding]:
    packages = ", ".join(f"{name} {metadata.version(name)}" for name in PACKAGES)
    return [
        Finding("codex-lsp", __version__),
        Finding("python", f"{platform.python_version()} at {sys.executable}"),
        Finding("packages", packages),
    ]


def _llama(llama: Probe) -> list[Finding]:
    if llama.error:
        return [Finding("llama.cpp", llama.error, ok=False, advice="pip install --force-reinstall llama-cpp-python")]
    return [Finding("llama.cpp", f"through llama-cpp-python {llama.version}; {_features(llama.system_info)}")]


def _features(system_info: str) -> str:
    """llama.cpp writes `CPU : AVX = 1 | AVX2 = 1 | … |`; what it has is enough."""
    has = [part.strip().removesuffix("= 1").strip() for part in system_info.split("|") if part.strip().endswith("= 1")]
    return " ".join(has).replace(" :", ":")


def _machine(llama: Probe) -> list[Finding]:
    machine = hardware.detect()
    gpus = ", ".join(f"{gpu.name} ({gpu.memory / 1e9:.0f} GB)" for gpu in machine.gpus) or "none found"
    gpu_advice = ""
    if machine.gpus and not llama.gpu_usable:
        gpu_advice = (
            "llama.cpp was built without GPU support. For NVIDIA: CMAKE_ARGS=-DGGML_CUDA=on pip install "
            "--force-reinstall --no-cache-dir llama-cpp-python"
        )
    return [
        Finding(
            "machine",
            f"{machine.cores} cores, {machine.memory_available / 1e9:.1f} of {machine.memory_total / 1e9:.1f} GB free",
        ),
        Finding("gpu", gpus + (", usable" if machine.gpus and llama.gpu_usable else ""), advice=gpu_advice),
    ]


def _settings() -> list[Finding]:
    files = ConfigFiles(paths.config_file())
    files.settings_for(None, Path.cwd())
    complaints = files.new_complaints()
    exists = "" if paths.config_file().is_file() else " (not there; defaults hold)"
    found = [Finding("settings", f"{paths.config_file()}{exists}")]
    return found + [
        Finding("settings", str(complaint), ok=False, advice="Put it right in that file.") for complaint in complaints
    ]


def _model() -> Finding:
    setting = ConfigFiles(paths.config_file()).settings_for(None).model
    try:
        path = store.resolve(setting)
        info = gguf.read(path)
    except ModelError as error:
        return Finding("model", str(error), ok=False)
    holes = "sees both sides of the cursor" if info.knows_holes else "sees only what is before the cursor"
    return Finding("model", f"{path} ({info.architecture}, {info.size / 1e6:.0f} MB; {holes})")


def _daemon(*, with_model: bool) -> list[Finding]:
    """The running daemon, started if it is not, and its engine, measured if it has a model."""
    was_running = connect()
    if was_running is not None:
        was_running.close()
    try:
        with Client() as client:
            speed = client.request(methods.MEASURE) if with_model else None
            status = client.request(methods.STATUS)
    except (DaemonUnreachable, RequestFailed, OSError) as error:
        return [Finding("daemon", str(error), ok=False, advice="codex-lsp daemon logs")]
    started = "" if was_running else " (just started)"
    found = [Finding("daemon", f"process {status['pid']} on {status['socket']}{started}")]
    if speed is None:
        return found
    if "error" in speed:
        return [*found, Finding("engine", speed["error"], ok=False, advice="codex-lsp daemon logs")]
    return [*found, *_engine(status["engine"], speed)]


def _engine(engine: dict[str, Any], speed: dict[str, float]) -> list[Finding]:
    model = engine["model"]
    window = affordable_tokens(speed["prefill_per_s"])
    slow = speed["decode_per_s"] < SLOW_DECODE_PER_S
    return [
        Finding(
            "engine",
            f"process {engine['pid']}, {model['n_threads']} threads, {'GPU' if model['gpu'] else 'CPU'}, "
            f"context {model['n_ctx']} tokens",
        ),
        Finding("template", f"{model['family']}, order {model['fim_order']}", advice=" ".join(model["warnings"])),
        Finding(
            "speed",
            f"prefill {speed['prefill_per_s']} tokens/s, decode {speed['decode_per_s']} tokens/s, measured now",
            advice="Slow for typing: close what uses the cores, or take a smaller model." if slow else "",
        ),
        Finding("window", f"about {window} tokens around the cursor, what this machine reads in {COLD_PREFILL_S} s"),
    ]
