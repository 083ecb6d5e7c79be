from pathlib import Path

import pytest

from codex_lsp.models import catalogue, hardware
from codex_lsp.models.errors import NothingFits
from codex_lsp.models.hardware import GIB, Gpu, Machine

CARD_8 = (Gpu("a card sold as 8 GB", 8188 << 20),)
CARD_24 = (Gpu("a card sold as 24 GB", 24564 << 20),)
APPLE_8, APPLE_16, APPLE_64 = ((Gpu("Apple Silicon", size * GIB * 3 // 4),) for size in (8, 16, 64))


@pytest.mark.parametrize(
    ("memory", "cores", "gpus", "usable", "name"),
    [
        (24, 2, (), False, "qwen2.5-coder-0.5b-instruct"),
        (24, 5, (), False, "qwen2.5-coder-0.5b-instruct"),
        (24, 6, (), False, "qwen2.5-coder-1.5b-instruct"),
        (256, 64, (), False, "qwen2.5-coder-1.5b-instruct"),
        (2, 16, (), False, "qwen2.5-coder-0.5b-instruct"),
        (24, 2, CARD_8, False, "qwen2.5-coder-0.5b-instruct"),
        (24, 2, CARD_8, True, "qwen2.5-coder-7b-instruct"),
        (24, 2, CARD_24, True, "qwen3-coder-30b-a3b"),
        (8, 8, APPLE_8, True, "qwen2.5-coder-1.5b-instruct"),
        (16, 8, APPLE_16, True, "qwen2.5-coder-7b-instruct"),
        (64, 10, APPLE_64, True, "qwen3-coder-30b-a3b"),
        (16, 8, APPLE_16, False, "qwen2.5-coder-1.5b-instruct"),
    ],
)
def test_the_model_for_a_machine(memory: int, cores: int, gpus: tuple[Gpu, ...], usable: bool, name: str) -> None:
    machine = Machine(memory * GIB, memory * GIB, cores, gpus)

    assert hardware.choose(machine, gpu_usable=usable).name == name


def test_never_a_licence_that_forbids_commercial_use() -> None:
    assert all(catalogue.find(rule.model).commercial for rule in hardware.RULES)


def test_the_next_best_follow_for_when_the_best_cannot_be_had() -> None:
    names = [model.name for model in hardware.suitable(Machine(16 * GIB, GIB, 8, CARD_8), gpu_usable=True)]

    assert names == [
        "qwen2.5-coder-7b-instruct",
        "qwen2.5-coder-1.5b-instruct",
        "qwen2.5-coder-0.5b-instruct",
    ]


def test_a_machine_too_small_for_all_is_told_so() -> None:
    with pytest.raises(NothingFits, match=r"has 1\.0 GiB of memory; the smallest model needs 0\.8 GiB beside"):
        hardware.choose(Machine(GIB, GIB, 8), gpu_usable=False)


@pytest.fixture
def cgroup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(hardware, "CGROUP", tmp_path)
    return tmp_path


def test_a_containers_limits_count(cgroup: Path) -> None:
    (cgroup / "memory.max").write_text(f"{2 * GIB}\n")
    (cgroup / "memory.current").write_text(f"{GIB}\n")
    (cgroup / "cpu.max").write_text("100000 100000\n")

    machine = hardware.detect()

    assert machine.memory_total == 2 * GIB
    assert machine.memory_available <= GIB
    assert machine.cores == 1


def test_the_older_form_of_containers_counts_too(cgroup: Path) -> None:
    (cgroup / "memory").mkdir()
    (cgroup / "memory" / "memory.limit_in_bytes").write_text(str(3 * GIB))
    (cgroup / "memory" / "memory.usage_in_bytes").write_text("0")

    assert hardware.detect().memory_total == 3 * GIB


def test_without_limits_the_whole_machine_counts(cgroup: Path) -> None:
    (cgroup / "memory.max").write_text("max\n")
    (cgroup / "cpu.max").write_text("max 100000\n")

    machine = hardware.detect()

    assert machine.memory_total > 0
    assert machine.cores >= 1


def nvidia_smi(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")


def test_an_nvidia_card_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvidia_smi(tmp_path, "echo 'NVIDIA GeForce RTX 4090, 24564'\necho 'Odd, Name, 8188'", monkeypatch)

    gpus = hardware.detect().gpus

    assert gpus == (Gpu("NVIDIA GeForce RTX 4090", 24564 << 20), Gpu("Odd, Name", 8188 << 20))


@pytest.mark.parametrize("script", ["exit 9", "echo 'No devices were found'"])
def test_a_driver_that_does_not_answer_is_no_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    nvidia_smi(tmp_path, script, monkeypatch)

    assert hardware.detect().gpus == ()
