"""What this machine has, and which model suits it."""

import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from codex_lsp.models import catalogue
from codex_lsp.models.catalogue import CatalogueModel
from codex_lsp.models.errors import NothingFits

GIB = 1 << 30
# macOS lets a program wire about three quarters of the unified memory for the GPU.
APPLE_GPU_SHARE = 0.75
# The other half is for the editor and whatever it works on. Free memory would be a bad guide: it changes by
# the minute, and a model that is loaded already takes from it.
MEMORY_SHARE = 0.5
CGROUP = Path("/sys/fs/cgroup")
NVIDIA_QUERY = ("--query-gpu=name,memory.total", "--format=csv,noheader,nounits")


@dataclass(frozen=True, slots=True)
class Gpu:
    """One graphics processor; `memory` in bytes is what a model may fill."""

    name: str
    memory: int


@dataclass(frozen=True, slots=True)
class Machine:
    """What a model can use. Memory in bytes; both memory and cores within the limits of a container."""

    memory_total: int
    memory_available: int
    cores: int
    gpus: tuple[Gpu, ...] = ()


@dataclass(frozen=True, slots=True)
class Rule:
    """A model, and the least machine it is quick enough on."""

    model: str
    gpu_gib: float = 0
    cores: int = 0


# The first rule that a machine meets wins. A card sold as 8 or 24 GB reports a little less. Without a GPU the
# smaller models win: a suggestion that comes after the next keystroke is worth nothing.
RULES = (
    Rule("qwen3-coder-30b-a3b", gpu_gib=23),
    Rule("qwen2.5-coder-7b-instruct", gpu_gib=7.5),
    Rule("qwen2.5-coder-1.5b-instruct", cores=6),
    Rule("qwen2.5-coder-0.5b-instruct"),
)


def suitable(machine: Machine, *, gpu_usable: bool) -> list[CatalogueModel]:
    """The models this machine can run well, best first; empty when nothing fits.

    `gpu_usable`: llama.cpp was built for the machine's GPU. No model whose licence forbids commercial use.
    """
    gpu = max((gpu.memory for gpu in machine.gpus), default=0) if gpu_usable else 0
    fitting = []
    for rule in RULES:
        model = catalogue.find(rule.model)
        room = gpu if rule.gpu_gib else machine.memory_total * MEMORY_SHARE
        enough = gpu >= rule.gpu_gib * GIB and machine.cores >= rule.cores
        if enough and model.memory <= room and model.commercial:
            fitting.append(model)
    return fitting


def choose(machine: Machine, *, gpu_usable: bool) -> CatalogueModel:
    """The model for this machine; raises NothingFits when there is too little memory for every one."""
    fitting = suitable(machine, gpu_usable=gpu_usable)
    if fitting:
        return fitting[0]
    least = catalogue.find(RULES[-1].model)
    raise NothingFits(
        f"This machine has {machine.memory_total / GIB:.1f} GiB of memory; the smallest model needs "
        f"{least.memory / GIB:.1f} GiB beside your other programs. Give the machine or its container more."
    )


def detect() -> Machine:
    """Look at this machine; takes some milliseconds, more when there is an NVIDIA driver to ask."""
    import psutil

    memory = psutil.virtual_memory()
    total, available = memory.total, memory.available
    for limit, used in _cgroup_memory():
        total = min(total, limit)
        available = min(available, max(limit - used, 0))
    return Machine(
        memory_total=total,
        memory_available=available,
        cores=_cores(psutil.cpu_count(logical=False) or psutil.cpu_count() or 1),
        gpus=(*_nvidia(), *_apple(memory.total)),
    )


def _cores(physical: int) -> int:
    """Physical cores, less what affinity and a container's quota take away."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else physical
    limits = [_text(folder / "cpu.max", "max").split() for folder in _cgroups()]
    quotas = [int(limit[0]) // int(limit[1]) for limit in limits if limit[0] != "max"]
    return max(1, min([physical, allowed, *quotas]))


def _cgroup_memory() -> list[tuple[int, int]]:
    """Limit and use, in bytes, of every control group this process is in that has a limit (v2, then v1)."""
    pairs = [(_text(folder / "memory.max", "max"), _text(folder / "memory.current", "0")) for folder in _cgroups()]
    v1 = CGROUP / "memory"
    pairs.append((_text(v1 / "memory.limit_in_bytes", "max"), _text(v1 / "memory.usage_in_bytes", "0")))
    return [(int(limit), int(used)) for limit, used in pairs if limit.isdecimal() and used.isdecimal()]


def _cgroups() -> list[Path]:
    """The folders of this process's control group and its parents: the tightest limit counts."""
    lines = _text(Path("/proc/self/cgroup"), "").splitlines()
    own = next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), "")
    folder = CGROUP / own
    return [folder, *(parent for parent in folder.parents if parent.is_relative_to(CGROUP))]


def _text(path: Path, default: str) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return default


def _nvidia() -> list[Gpu]:
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    try:
        answer = subprocess.run([program, *NVIDIA_QUERY], capture_output=True, text=True, timeout=5, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    rows = [line.rpartition(", ") for line in answer.splitlines()]
    return [Gpu(name, int(mebibytes) << 20) for name, _, mebibytes in rows if mebibytes.isdecimal()]


def _apple(memory_total: int) -> list[Gpu]:
    if sys.platform == "darwin" and platform.machine() == "arm64":
        return [Gpu("Apple Silicon", int(memory_total * APPLE_GPU_SHARE))]
    return []
