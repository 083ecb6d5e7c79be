"""Asks the Hugging Face Hub where a file lies, through `huggingface_hub`.

Its environment settings hold: HF_ENDPOINT (a mirror), HF_TOKEN and `hf auth login`, HF_HUB_OFFLINE, HF_HOME,
the proxies. The package takes a third of a second to import, so only these functions do it.
"""

import re
from pathlib import Path

from codex_lsp import __version__
from codex_lsp.models.catalogue import CatalogueModel
from codex_lsp.models.download import Remote
from codex_lsp.models.errors import SourceFailed


def cached(model: CatalogueModel) -> Path | None:
    """The file in the Hub's own cache folder, where other programs may have put it."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(model.repo, model.file, revision=model.revision)
    return Path(found) if isinstance(found, str) else None


def locate(model: CatalogueModel) -> Remote:
    """Where the Hub has the file of `model`, with its size and sum; raises SourceFailed with the reason."""
    import httpx2
    from huggingface_hub import errors, get_hf_file_metadata, hf_hub_url
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # public, not re-exported

    url = hf_hub_url(model.repo, model.file, revision=model.revision)
    try:
        found = get_hf_file_metadata(url, library_name="codex-lsp", library_version=__version__)
    except errors.OfflineModeIsEnabled as error:
        raise SourceFailed("The Hugging Face Hub is switched off by HF_HUB_OFFLINE; unset it.") from error
    except errors.GatedRepoError as error:
        raise SourceFailed(
            f"{model.repo} asks you to accept its licence on the Hub first. Open its page, accept, "
            f"then set HF_TOKEN or run `hf auth login`."
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise SourceFailed(
            f"The Hub refuses access to {model.repo}, or has no such repository. "
            f"Set HF_TOKEN or run `hf auth login` if it needs an account."
        ) from error
    except (errors.RevisionNotFoundError, errors.RemoteEntryNotFoundError) as error:
        raise SourceFailed(
            f"The Hub no longer has {model.file} in {model.repo}. Give the address of another copy."
        ) from error
    except errors.HfHubHTTPError as error:
        raise SourceFailed(
            f"The Hub answers HTTP {error.response.status_code}. Check HF_ENDPOINT, or try again in a few minutes."
        ) from error
    except httpx2.HTTPError as error:
        raise SourceFailed(
            f"The Hugging Face Hub cannot be reached ({error}). Check the network, the proxy and HF_ENDPOINT."
        ) from error
    if found.commit_hash is None:
        raise SourceFailed("What answers for the Hugging Face Hub is not one. Check the proxy and HF_ENDPOINT.")
    return Remote(
        url=url,
        headers=build_hf_headers(library_name="codex-lsp", library_version=__version__),
        size=found.size,
        sha256=model.sha256 or _sum(found.etag),
        version=found.etag,
    )


def _sum(etag: str | None) -> str | None:
    """The Hub's ETag of a large file is its sha256."""
    return etag if etag and re.fullmatch("[0-9a-f]{64}", etag) else None
