"""One question to the daemon, asked as an editor asks it: open, complete, read what it cost, close."""

from pathlib import Path
from typing import Any

from codex_lsp.client import Client
from codex_lsp.languages import language_of
from codex_lsp.methods import LAST_REQUEST

INVOKED = 1


def ask(client: Client, path: Path, text: str, line: int, column: int, language: str | None = None) -> dict[str, Any]:
    """The completion of `text` at a place counted from 1, with what the daemon recorded about the request.

    The answer has `completion` (None when there is none), `reason` and `refusal` for that case, `source`, and the
    engine's counts and times where the engine was asked.
    """
    uri = path.as_uri()
    document = {"uri": uri, "languageId": language or language_of(path), "version": 1, "text": text}
    client.notify("textDocument/didOpen", {"textDocument": document})
    answer = client.request(
        "textDocument/inlineCompletion",
        {
            "textDocument": {"uri": uri},
            "position": {"line": line - 1, "character": column - 1},
            "context": {"triggerKind": INVOKED},
        },
    )
    record = client.request(LAST_REQUEST, {"uri": uri}) or {}
    client.notify("textDocument/didClose", {"textDocument": {"uri": uri}})
    items = answer["items"]
    completion = items[0]["insertText"] if items else None
    return {
        "completion": completion,
        "reason": record.get("reason"),
        "refusal": record.get("refusal"),
        "source": record.get("source", "none"),
        "waited_ms": record.get("waited_ms"),
        "engine": record.get("completion"),
    }
