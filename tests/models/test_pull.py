"""Pulls by name: the Hub with its real client against a loopback server, with breaks."""

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import NoReturn

import pytest

from codex_lsp import paths
from codex_lsp.models import download, store
from codex_lsp.models.catalogue import CatalogueModel
from codex_lsp.models.errors import (
    DiskFull,
    ModelError,
    PullInterrupted,
    PullRunning,
    SourceFailed,
    WrongContent,
)
from tests.models.conftest import Server, gguf_bytes, left

CatalogueOf = Callable[..., CatalogueModel]


@pytest.mark.parametrize("redirect", [False, True], ids=["served by the hub", "sent on to its storage"])
def test_the_hub_gives_the_file(hub: Server, catalogue_of: CatalogueOf, redirect: bool) -> None:
    catalogue_of(hub.content, revision="abc")
    hub.redirect = redirect

    path = store.pull("tiny")

    assert path.read_bytes() == hub.content
    assert left() == ["tiny.gguf"]
    assert {path for path, _ in hub.resolves()} == {"/someone/tiny-gguf/resolve/abc/tiny.gguf"}


def test_a_second_pull_asks_nobody(hub: Server, catalogue_of: CatalogueOf) -> None:
    catalogue_of(hub.content)
    store.pull("tiny")
    hub.requests.clear()

    assert store.pull("tiny").name == "tiny.gguf"
    assert hub.requests == []


@pytest.mark.parametrize("redirect", [False, True])
def test_after_a_break_only_the_missing_bytes_are_sent(hub: Server, catalogue_of: CatalogueOf, redirect: bool) -> None:
    catalogue_of(hub.content)
    hub.redirect = redirect
    hub.cuts = [300_000, 400_000]

    assert store.pull("tiny").read_bytes() == hub.content
    assert hub.sent == len(hub.content)
    assert [get["Range"] for get in hub.gets] == [None, "bytes=300000-", "bytes=700000-"]


def test_a_later_command_goes_on_where_the_last_one_gave_up(hub: Server, catalogue_of: CatalogueOf) -> None:
    catalogue_of(hub.content)
    hub.cuts = [1_200_000, 0, 0, 0, 0]
    with pytest.raises(SourceFailed, match=r"stopped sending.*is kept; run the same command again"):
        store.pull("tiny")

    seen: list[int] = []
    path = store.pull("tiny", lambda have, _size: seen.append(have))

    assert path.read_bytes() == hub.content
    assert hub.gets[-1]["Range"] == "bytes=1200000-"
    assert hub.sent == len(hub.content)
    assert (seen[0], seen[-1]) == (1_200_000, len(hub.content))
    assert seen == sorted(seen)


def test_a_file_that_changed_on_the_hub_starts_again(hub: Server, catalogue_of: CatalogueOf) -> None:
    catalogue_of(hub.content, sha256=None)
    hub.cuts = [1_200_000, 0, 0, 0, 0]
    with pytest.raises(SourceFailed):
        store.pull("tiny")
    hub.content = gguf_bytes(values=500_001)

    assert store.pull("tiny").read_bytes() == hub.content
    assert hub.gets[-1]["Range"] is None


def test_a_server_without_ranges_sends_all_again_and_nothing_is_mixed(hub: Server, catalogue_of: CatalogueOf) -> None:
    catalogue_of(hub.content)
    hub.cuts, hub.ranges = [1_200_000], False

    assert store.pull("tiny").read_bytes() == hub.content


def test_wrong_bytes_are_deleted_and_named(hub: Server, catalogue_of: CatalogueOf) -> None:
    catalogue_of(hub.content, sha256="0" * 64)

    with pytest.raises(WrongContent, match=r"tiny\.gguf is not the model: its SHA-256 is .* instead of 000000"):
        store.pull("tiny")
    assert not (paths.models_dir() / "tiny.gguf").exists()
    assert not [name for name in left() if name.endswith(".part")]


def test_the_hubs_own_sum_is_checked_where_the_catalogue_has_none(
    hub: Server, catalogue_of: CatalogueOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue_of(hub.content, sha256=None)
    monkeypatch.setattr(Server, "sum", "f" * 64)

    with pytest.raises(WrongContent, match="instead of ffffff"):
        store.pull("tiny")


@pytest.mark.parametrize(
    ("status", "code", "sentence"),
    [
        (403, "GatedRepo", "accept its licence on the Hub first.*HF_TOKEN"),
        (401, "RepoNotFound", "refuses access to someone/tiny-gguf.*hf auth login"),
        (404, "EntryNotFound", "no longer has tiny.gguf in someone/tiny-gguf"),
        (404, "RevisionNotFound", "no longer has tiny.gguf"),
        (503, "", "answers HTTP 503. Check HF_ENDPOINT, or try again in a few minutes"),
    ],
)
def test_what_the_hub_refuses_is_one_sentence(
    hub: Server, catalogue_of: CatalogueOf, status: int, code: str, sentence: str
) -> None:
    catalogue_of(hub.content)
    hub.head_status, hub.error_code = status, code

    with pytest.raises(SourceFailed, match=sentence):
        store.pull("tiny")
    assert hub.gets == []


def test_a_busy_storage_is_asked_again(hub: Server, catalogue_of: CatalogueOf) -> None:
    catalogue_of(hub.content)
    hub.statuses = [503, 429, 200]

    assert store.pull("tiny").read_bytes() == hub.content


def test_a_storage_that_stays_busy_is_given_up(hub: Server, catalogue_of: CatalogueOf) -> None:
    catalogue_of(hub.content)
    hub.statuses = [503] * 50

    with pytest.raises(SourceFailed, match=r"stopped sending \(HTTP 503\)"):
        store.pull("tiny")
    assert len(hub.gets) == download.TRIES_WITHOUT_A_BYTE


def test_a_storage_that_refuses_is_not_asked_again(hub: Server, catalogue_of: CatalogueOf) -> None:
    catalogue_of(hub.content)
    hub.statuses = [403] * 50

    with pytest.raises(SourceFailed, match="refuses access"):
        store.pull("tiny")
    assert len(hub.gets) == 1


def test_without_a_hub_the_sentence_says_what_to_check(
    hub: Server, catalogue_of: CatalogueOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    catalogue_of(hub.content)
    nobody = "http://127.0.0.1:9/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", nobody)

    with pytest.raises(SourceFailed, match=r"cannot be reached.*Check the network, the proxy and HF_ENDPOINT"):
        store.pull("tiny")


def test_a_proxys_login_page_is_not_taken_for_the_hub(
    hub: Server, catalogue_of: CatalogueOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.models.conftest import Handler

    catalogue_of(hub.content)
    monkeypatch.setattr(Handler, "hub_headers", lambda _handler: None)

    with pytest.raises(SourceFailed, match=r"is not one\. Check the proxy"):
        store.pull("tiny")


def test_the_token_goes_to_the_hub_and_not_to_its_storage(
    hub: Server, catalogue_of: CatalogueOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    catalogue_of(hub.content)
    hub.redirect = True

    store.pull("tiny")

    assert {token for _, token in hub.resolves()} == {"Bearer hf_secret"}
    assert [get["Authorization"] for get in hub.gets] == [None]


def test_what_other_programs_put_into_the_hubs_cache_is_not_downloaded(
    hub: Server, catalogue_of: CatalogueOf, tmp_path: Path
) -> None:
    from huggingface_hub import hf_hub_download

    catalogue_of(hub.content)
    hf_hub_download("someone/tiny-gguf", "tiny.gguf")
    hub.requests.clear()

    path = store.pull("tiny")

    assert (path.read_bytes() == hub.content, hub.requests) == (True, [])
    store.remove("tiny")
    assert Path(hf_hub_download("someone/tiny-gguf", "tiny.gguf", local_files_only=True)).exists()


def test_the_environment_of_the_hubs_client_holds(server: Server, tmp_path: Path) -> None:
    """In a process of its own: the client reads its environment when it is imported."""
    script = (
        "import sys\n"
        "from codex_lsp.models import catalogue, store\n"
        "from codex_lsp.models.catalogue import CatalogueModel\n"
        f"size = {len(server.content)}\n"
        "model = CatalogueModel('tiny', 'Tiny', 'a/b', 'tiny.gguf', size, 'MIT', 1, 'psm')\n"
        "catalogue.load = lambda: (model,)\n"
        "try:\n    print(store.pull('tiny'))\n"
        "except store.SourceFailed as error:\n    sys.exit(str(error))\n"
    )
    environment = os.environ | {
        "HF_ENDPOINT": server.url,
        "HF_HOME": str(tmp_path / "hf"),
        "HF_TOKEN": "hf_mine",
    }

    def run(**more: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-c", script]
        return subprocess.run(command, env=environment | more, capture_output=True, text=True, check=False)

    offline = run(HF_HUB_OFFLINE="1")
    assert (offline.returncode, server.requests) == (1, [])
    assert "switched off by HF_HUB_OFFLINE; unset it" in offline.stderr

    online = run()
    assert Path(online.stdout.strip()).read_bytes() == server.content
    assert server.resolves()[0] == ("/a/b/resolve/main/tiny.gguf", "Bearer hf_mine")
    assert online.stderr == ""


def test_a_model_larger_than_the_disk_is_refused_before_the_first_byte(
    hub: Server, catalogue_of: CatalogueOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue_of(hub.content)
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: SimpleNamespace(free=1_000_000))

    with pytest.raises(DiskFull, match=r"2\.0 MB more are needed and 1\.0 MB are free. Free some space"):
        store.pull("tiny")
    assert left() == ["tiny.gguf.part.version"]


def test_a_disk_that_fills_up_on_the_way_keeps_what_arrived(hub: Server, catalogue_of: CatalogueOf) -> None:
    catalogue_of(hub.content)

    def full(have: int, _size: int | None) -> None:
        if have > 1_000_000:
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(DiskFull, match=r"No space left on device\. Free some space, or set CODEX_LSP_HOME"):
        store.pull("tiny", full)

    assert store.pull("tiny").read_bytes() == hub.content
    assert hub.gets[-1]["Range"].startswith("bytes=1")


def test_ctrl_c_keeps_what_arrived_and_says_so(hub: Server, catalogue_of: CatalogueOf) -> None:
    catalogue_of(hub.content)

    def stop(have: int, _size: int | None) -> None:
        if have > 1_000_000:
            raise KeyboardInterrupt

    with pytest.raises(PullInterrupted, match=r"Stopped; 1\.\d MB of the file are kept. Run the same command"):
        store.pull("tiny", stop)
    assert not (paths.models_dir() / "tiny.gguf").exists()

    assert store.pull("tiny").read_bytes() == hub.content


def test_two_pulls_at_once_are_one(hub: Server, catalogue_of: CatalogueOf) -> None:
    catalogue_of(hub.content)
    refused: list[ModelError] = []

    def another(have: int, _size: int | None) -> None:
        if not refused:
            with pytest.raises(PullRunning, match=r"Another codex-lsp is downloading tiny\.gguf") as raised:
                store.pull("tiny")
            refused.append(raised.value)

    assert store.pull("tiny", another).read_bytes() == hub.content
    assert refused


def test_a_folder_that_cannot_be_written_is_one_sentence(
    hub: Server, catalogue_of: CatalogueOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue_of(hub.content)

    def refuse(*_arguments: object, **_options: object) -> NoReturn:
        raise PermissionError(errno.EACCES, "Permission denied", "/the/folder")

    monkeypatch.setattr(paths, "private_dir", refuse)

    with pytest.raises(ModelError, match=r"/the/folder: Permission denied\. Check the folder's rights"):
        store.pull("tiny")


def test_a_half_file_under_a_models_name_is_replaced(hub: Server, catalogue_of: CatalogueOf) -> None:
    catalogue_of(hub.content)
    half = paths.private_dir(paths.models_dir()) / "tiny.gguf"
    half.write_bytes(hub.content[:1_000_000])

    assert store.pull("tiny").read_bytes() == hub.content
