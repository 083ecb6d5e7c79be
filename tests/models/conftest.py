"""Tiny GGUF files, a small model in the catalogue, and a loopback Hub that breaks on demand."""

import contextlib
import hashlib
import re
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from codex_lsp import paths
from codex_lsp.models import catalogue, download
from codex_lsp.models.catalogue import CatalogueModel

QWEN_MARKERS = ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|repo_name|>")
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def texts(values: tuple[str, ...]) -> bytes:
    return struct.pack("<IIQ", 9, 8, len(values)) + b"".join(map(text, values))


def gguf_bytes(
    tokens: tuple[str, ...] = QWEN_MARKERS, values: int = 20_000, version: int = 3, padding: int = 0
) -> bytes:
    """A whole GGUF: a few keys, a vocabulary, merges behind it, one F32 tensor of `values` values."""
    keys = [
        text("general.architecture") + struct.pack("<I", 8) + text("qwen2"),
        text("general.name") + struct.pack("<I", 8) + text("Tiny"),
        text("qwen2.context_length") + struct.pack("<II", 4, 32768),
        text("tokenizer.ggml.tokens") + texts(("a", "b", *tokens)),
        text("tokenizer.ggml.token_type") + struct.pack("<IIQ3i", 9, 5, 3, 1, 1, 1),
        text("tokenizer.ggml.merges") + texts(("a b",)),
    ]
    tensor = text("output.weight") + struct.pack("<IQIQ", 1, values, 0, 0)
    head = b"GGUF" + struct.pack("<IQQ", version, 1, len(keys)) + b"".join(keys) + tensor
    return head + bytes(-len(head) % 32) + b"\x01\x02\x03\x04" * values + bytes(padding)


def left() -> list[str]:
    """What lies in the models folder, locks apart."""
    return sorted(path.name for path in paths.models_dir().iterdir() if not path.name.endswith(".lock"))


@dataclass
class Server:
    """What the loopback server has and how it will misbehave; `requests` and `sent` say what came of it."""

    url: str
    content: bytes
    # Bytes after which each of the next answers breaks off; None lets it through.
    cuts: list[int | None] = field(default_factory=list)
    # Status of the next answers to GET, and of every answer to HEAD.
    statuses: list[int] = field(default_factory=list)
    head_status: int = 200
    error_code: str = ""
    redirect: bool = False
    etag: str = '"v1"'
    ranges: bool = True
    length_known: bool = True
    # Every request; and the headers of those for the content, redirects apart.
    requests: list[tuple[str, str, Message]] = field(default_factory=list)
    gets: list[Message] = field(default_factory=list)
    sent: int = 0

    @property
    def sum(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    def resolves(self) -> list[tuple[str, str | None]]:
        """Path and token of what the Hub itself was asked for; its client also asks for other things."""
        return [(path, headers["Authorization"]) for _, path, headers in self.requests if "/resolve/" in path]


class Handler(BaseHTTPRequestHandler):
    state: Server

    def do_HEAD(self) -> None:
        self.state.requests.append(("HEAD", self.path, self.headers))
        if self.state.head_status != 200:
            return self.refuse(self.state.head_status)
        self.send_response(302 if self.state.redirect else 200)
        self.hub_headers()
        self.send_header("Content-Length", "0" if self.state.redirect else str(len(self.state.content)))
        self.end_headers()
        return None

    def do_GET(self) -> None:
        self.state.requests.append(("GET", self.path, self.headers))
        if self.path.startswith("/api/"):
            self.refuse(404)
        elif self.state.redirect and not self.path.startswith("/cdn/"):
            self.send_response(302)
            self.hub_headers()
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self.state.gets.append(self.headers)
            status = self.state.statuses.pop(0) if self.state.statuses else 200
            self.answer() if status == 200 else self.refuse(status)

    def hub_headers(self) -> None:
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{self.state.sum}"')
        self.send_header("X-Linked-Etag", f'"{self.state.sum}"')
        self.send_header("X-Linked-Size", str(len(self.state.content)))
        if self.state.redirect:
            # Another origin than the Hub's, as the real one's storage is.
            _, port = self.connection.getsockname()
            self.send_header("Location", f"http://localhost:{port}/cdn/{self.state.sum}")

    def answer(self) -> None:
        start = self.start()
        body = self.state.content[start:]
        cut = self.state.cuts.pop(0) if self.state.cuts else None
        if start >= len(self.state.content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(self.state.content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(self.state.content) - 1}/{len(self.state.content)}")
        if self.state.etag:
            self.send_header("ETag", self.state.etag)
        if self.state.length_known:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.state.sent += len(body[:cut])
        self.close_connection = True
        with contextlib.suppress(ConnectionError):  # a test may hang up
            self.wfile.write(body[:cut])

    def start(self) -> int:
        """Where the answer begins: `If-Range` with another version means from the first byte."""
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        same = self.headers.get("If-Range") in {None, self.state.etag}
        return int(wanted[1]) if wanted and same and self.state.ranges else 0

    def refuse(self, status: int) -> None:
        self.send_response(status)
        if self.state.error_code:
            self.send_header("X-Error-Code", self.state.error_code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        """Stay silent."""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CODEX_LSP_HOME", str(tmp_path / "home"))
    for name in ("HF_TOKEN", "HF_ENDPOINT", "HF_HUB_OFFLINE", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(download, "PAUSE_S", 0)
    return tmp_path / "home"


@pytest.fixture
def server() -> Iterator[Server]:
    handler = type("BoundHandler", (Handler,), {})
    listener = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    state = Server(f"http://127.0.0.1:{listener.server_address[1]}", gguf_bytes(values=500_000))
    handler.state = state  # type: ignore[attr-defined]  # a class made per test
    thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield state
    listener.shutdown()
    listener.server_close()
    thread.join()


@pytest.fixture
def hub(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """The same server in the place of the Hub, for the real client."""
    import huggingface_hub
    from huggingface_hub import constants

    template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    yield server
    huggingface_hub.close_session()


@pytest.fixture
def catalogue_of(monkeypatch: pytest.MonkeyPatch) -> Callable[..., CatalogueModel]:
    """Put one small model with the given fields at the top of the catalogue."""
    others = catalogue.load()

    def make(content: bytes, **fields: object) -> CatalogueModel:
        values: dict[str, object] = {
            "name": "tiny",
            "family": "Tiny",
            "repo": "someone/tiny-gguf",
            "file": "tiny.gguf",
            "size": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
            "licence": "MIT",
            "memory": 1_000_000,
            "fim": "psm",
        }
        model = CatalogueModel(**(values | fields))  # type: ignore[arg-type]  # the fields vary by test
        monkeypatch.setattr(catalogue, "load", lambda: (model, *others))
        return model

    return make
