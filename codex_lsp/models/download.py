"""One file over HTTP into a part file, going on where an earlier try broke off.

A part is only continued when it is known to belong to the same version of the file: next to it lies a note
with the version (an ETag), and without a matching note the download starts again from the first byte.
"""

import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from codex_lsp.models.errors import DiskFull, SourceFailed

if TYPE_CHECKING:
    import httpx2

# Called with the bytes that are here and the bytes of the whole file, None while nobody knows.
Progress = Callable[[int, int | None], None]

TRIES_WITHOUT_A_BYTE = 4
PAUSE_S = 0.5
TIMEOUT_S = 15.0


@dataclass(frozen=True, slots=True)
class Remote:
    """Where a file lies and what is known of it before the first byte; `size` in bytes."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    size: int | None = None
    sha256: str | None = None
    version: str | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """What has arrived of a file so far, and the note saying of which version."""

    path: Path

    @property
    def note(self) -> Path:
        """The file that holds the version."""
        return self.path.with_name(self.path.name + ".version")

    def size(self) -> int:
        """Bytes that have arrived; 0 when nothing has."""
        return self.path.stat().st_size if self.path.exists() else 0

    def version(self) -> str | None:
        """The version the bytes belong to; None when they cannot be told."""
        return self.note.read_text(encoding="utf-8") if self.note.exists() else None

    def restart(self, version: str | None) -> None:
        """Drop what has arrived; the next bytes will be of `version`."""
        self.remove()
        if version:
            self.note.write_text(version, encoding="utf-8")

    def remove(self) -> None:
        """Leave nothing behind."""
        self.path.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)


def fetch(remote: Remote, part: Part, progress: Progress) -> None:
    """Bring all of `remote` into `part`.

    Tries again while bytes still arrive between two breaks. Raises SourceFailed when the server refuses or
    stays silent (the part is kept), and DiskFull.
    """
    import httpx2
    from huggingface_hub.errors import OfflineModeIsEnabled

    if remote.version and part.version() != remote.version:
        part.restart(remote.version)
    failures = 0
    while True:
        before = part.size()
        try:
            _stream(remote, part, progress)
            return
        except _BusyError as error:
            reason = str(error)
        except OfflineModeIsEnabled as error:
            raise SourceFailed("Downloads are switched off by HF_HUB_OFFLINE; unset it.") from error
        except httpx2.InvalidURL as error:
            raise SourceFailed(f"{remote.url} is not an address: {error}. Correct it.") from error
        except (httpx2.TransportError, httpx2.TooManyRedirects) as error:
            reason = str(error) or type(error).__name__
        failures = 0 if part.size() > before else failures + 1
        if failures == TRIES_WITHOUT_A_BYTE:
            raise SourceFailed(
                f"{_host(remote.url)} does not answer or stopped sending ({reason}). "
                f"What has arrived is kept; run the same command again to go on."
            )
        time.sleep(PAUSE_S * 2**failures)


def require_space(folder: Path, missing: int) -> None:
    """Raise DiskFull unless the disk of `folder` has room for `missing` more bytes."""
    free = shutil.disk_usage(folder).free
    if missing > free:
        raise disk_full(folder, f"{megabytes(missing)} more are needed and {megabytes(free)} are free")


def disk_full(folder: Path, why: str) -> DiskFull:
    """The one sentence about a full disk."""
    return DiskFull(
        f"The disk of {folder} is full: {why}. Free some space, or set CODEX_LSP_HOME to a folder "
        f"on another disk, and run the command again."
    )


def megabytes(size: int) -> str:
    """A size for people, in decimal units like every download page."""
    if size < 1e9:
        return f"{size / 1e6:.1f} MB"
    return f"{size / 1e9:.2f} GB" if size < 1e10 else f"{size / 1e9:.1f} GB"


class _BusyError(Exception):
    """The server is busy; the same request may work in a moment."""


def _stream(remote: Remote, part: Part, progress: Progress) -> None:
    from huggingface_hub import get_session

    if remote.size is not None and part.size() > remote.size:
        part.restart(remote.version)
    if remote.size is not None and part.size() == remote.size:
        return
    request = get_session().stream(
        "GET", remote.url, headers=_headers(remote, part), timeout=TIMEOUT_S, follow_redirects=True
    )
    with request as response:
        if response.status_code == 416 and _length(response) == part.size():
            return
        _check_status(remote, response)
        _check_range(remote, part, response)
        total = remote.size or _length(response)
        if total is not None:
            require_space(part.path.parent, total - part.size())
        with part.path.open("ab") as file:
            have = file.tell()
            progress(have, total)
            for chunk in response.iter_bytes():
                file.write(chunk)
                have += len(chunk)
                progress(have, total)
            file.flush()
            os.fsync(file.fileno())


def _headers(remote: Remote, part: Part) -> dict[str, str]:
    headers = {**remote.headers, "Accept-Encoding": "identity"}
    version = part.version()
    if version is None or not part.size():
        return headers
    headers["Range"] = f"bytes={part.size()}-"
    if remote.version is None:
        headers["If-Range"] = version
    return headers


def _check_status(remote: Remote, response: "httpx2.Response") -> None:
    status = response.status_code
    if response.url.scheme == "http" and remote.url.startswith("https:"):
        raise SourceFailed(f"{_host(remote.url)} sends us on to an unencrypted address. Use another source.")
    if status in {408, 429} or status >= 500:
        raise _BusyError(f"HTTP {status}")
    if status in {401, 403}:
        raise SourceFailed(
            f"{_host(remote.url)} refuses access (HTTP {status}). Check that you may download this file."
        )
    if status not in {200, 206, 416}:
        raise SourceFailed(f"{_host(remote.url)} has no such file (HTTP {status}). Check the address.")


def _check_range(remote: Remote, part: Part, response: "httpx2.Response") -> None:
    """Make sure that what comes belongs at the end of the part, which may mean to empty the part first."""
    status = response.status_code
    if status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {part.size()}-"):
        return
    part.restart(remote.version or _validator(response))
    if status != 200:
        raise _BusyError(f"HTTP {status} for a range that does not fit")


def _length(response: "httpx2.Response") -> int | None:
    """The whole file's size: from `Content-Range: bytes 7-99/100`, or `Content-Length` of a full answer."""
    whole = response.headers.get("Content-Range", "").rpartition("/")[2]
    if response.status_code == 200:
        whole = response.headers.get("Content-Length", "")
    return int(whole) if whole.isdecimal() else None


def _validator(response: "httpx2.Response") -> str | None:
    """What `If-Range` accepts as proof of the same version: a strong ETag, else the date."""
    etag: str = response.headers.get("ETag", "")
    if etag.startswith('"'):
        return etag
    date: str | None = response.headers.get("Last-Modified")
    return date


def _host(url: str) -> str:
    return url.split("/")[2]
