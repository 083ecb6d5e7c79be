"""Pulls from an address or a file that the user names."""

from pathlib import Path

import httpx2
import pytest

from codex_lsp import paths
from codex_lsp.models import download, store
from codex_lsp.models.errors import ModelError, NotAGguf, SourceFailed
from tests.models.conftest import Server, gguf_bytes, left


def test_an_address_is_pulled_and_resumed(hub: Server) -> None:
    hub.cuts = [1_200_000, 0, 0, 0, 0]
    with pytest.raises(SourceFailed):
        store.pull(f"{hub.url}/some/My%20model.gguf")

    path = store.pull(f"{hub.url}/some/My%20model.gguf")

    assert path.read_bytes() == hub.content
    assert path.name.startswith("My-model-")
    assert (hub.gets[-1]["Range"], hub.gets[-1]["If-Range"]) == ("bytes=1200000-", '"v1"')
    assert left() == [path.name]


@pytest.mark.parametrize("etag", ['"v2"', 'W/"v1"', ""], ids=["changed", "weak", "none"])
def test_without_proof_of_the_same_version_an_address_starts_again(hub: Server, etag: str) -> None:
    hub.cuts = [1_200_000, 0, 0, 0, 0]
    hub.etag = '"v1"' if etag == '"v2"' else etag
    with pytest.raises(SourceFailed):
        store.pull(f"{hub.url}/model.gguf")
    hub.etag = etag
    before = hub.sent

    assert store.pull(f"{hub.url}/model.gguf").read_bytes() == hub.content
    assert hub.sent - before == len(hub.content)


def test_two_addresses_with_one_file_name_are_two_models(hub: Server) -> None:
    first = store.pull(f"{hub.url}/one/model.gguf")

    assert store.pull(f"{hub.url}/two/model.gguf") != first


def test_a_page_that_is_no_model_is_refused(hub: Server) -> None:
    hub.content = b"<html>please log in</html>"

    with pytest.raises(NotAGguf, match="is not a GGUF file"):
        store.pull(f"{hub.url}/model.gguf")
    assert left() == []


def test_a_truncated_answer_of_unknown_length_is_not_taken_for_a_model(hub: Server) -> None:
    hub.length_known, hub.cuts = False, [1_500_000]

    with pytest.raises(NotAGguf, match="cut off"):
        store.pull(f"{hub.url}/model.gguf")
    assert not [name for name in left() if name.endswith(".gguf")]


@pytest.mark.parametrize("address", ["https://[::1/m.gguf", "https://a:b/m.gguf"])
def test_an_address_that_is_none_is_one_sentence(address: str) -> None:
    with pytest.raises(ModelError, match=r"is not an address: .* Correct it"):
        store.pull(address)


@pytest.mark.parametrize("address", ["http://example.org/m.gguf", "ftp://127.0.0.1/m.gguf", "file:///m.gguf"])
def test_only_encrypted_addresses_are_taken(address: str) -> None:
    with pytest.raises(ModelError, match="is not an https:// address"):
        store.pull(address)


def test_offline_mode_holds_for_addresses_too(hub: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)

    with pytest.raises(SourceFailed, match="switched off by HF_HUB_OFFLINE; unset it"):
        store.pull(f"{hub.url}/model.gguf")
    assert hub.requests == []


def test_an_encrypted_address_that_leads_to_an_open_one_is_refused() -> None:
    answer = httpx2.Response(200, request=httpx2.Request("GET", "http://mirror.example/m.gguf"))

    with pytest.raises(SourceFailed, match=r"models\.example sends us on to an unencrypted address"):
        download._check_status(download.Remote("https://models.example/m.gguf"), answer)


def test_a_local_file_is_used_where_it_lies(tmp_path: Path) -> None:
    path = tmp_path / "mine.gguf"
    path.write_bytes(gguf_bytes())

    assert store.pull(str(path)) == path
    assert not paths.models_dir().exists()
