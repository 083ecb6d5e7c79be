"""A typist at the daemon: what each key costs. `python -m tests.typing_run FILE [--keys 200] [--pause-ms 120]`.

Types the middle of FILE into the rest of it, one key at a time, asking for a suggestion after each like an editor
that does not debounce. Prints tokens prefilled per key, where answers came from, and waiting times. Uses the daemon of
this CODEX_LSP_HOME with its model; the figures count tokens first, because milliseconds are the machine's.
"""

import argparse
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from codex_lsp.client import Client
from codex_lsp.languages import language_of

AUTOMATIC = 2


def main() -> None:
    """Type, ask, count, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    parser.add_argument("--keys", type=int, default=200)
    parser.add_argument("--pause-ms", type=int, default=0, help="rest between an answer and the next key")
    options = parser.parse_args()
    text = options.file.read_text("utf-8")
    start = text.rfind("\n", 0, len(text) // 2) + 1
    typed = text[start : start + options.keys]
    # What follows begins with a line end: nobody types into the beginning of an old word.
    after = text[text.find("\n", start + len(typed)) :]
    records = list(type_and_ask(options.file, text[:start], typed, after, options.pause_ms / 1000))
    report(records)


def type_and_ask(path: Path, before: str, typed: str, after: str, pause_s: float) -> Any:
    """Yield the daemon's record of the request after each key."""
    uri = path.absolute().as_uri()
    with Client(root=Path.cwd()) as client:
        document = {"uri": uri, "languageId": language_of(path), "version": 1, "text": before + after}
        client.notify("textDocument/didOpen", {"textDocument": document})
        for version, key in enumerate(typed, start=2):
            at = _position(before)
            before += key
            change = {"range": {"start": at, "end": at}, "text": key}
            client.notify(
                "textDocument/didChange",
                {"textDocument": {"uri": uri, "version": version}, "contentChanges": [change]},
            )
            client.request(
                "textDocument/inlineCompletion",
                {
                    "textDocument": {"uri": uri},
                    "position": _position(before),
                    "context": {"triggerKind": AUTOMATIC},
                },
            )
            yield client.request("codexLsp/lastRequest", {"uri": uri})
            time.sleep(pause_s)


def report(records: list[dict[str, Any]]) -> None:
    """Print what the run cost."""
    engine = [record["completion"] for record in records if record["completion"]]
    first, later = engine[:1], engine[1:]
    waits = sorted(record["waited_ms"] for record in records)
    first_tokens = sorted(c["first_token_ms"] for c in later if c["first_token_ms"] is not None)
    sources = Counter(record["source"] for record in records)
    lines = [
        f"keys {len(records)}, answered by {dict(sources)}",
        f"tokens prefilled: {sum(c['n_prefilled'] for c in first)} for the first request, then "
        f"{sum(c['n_prefilled'] for c in later) / max(1, len(records) - 1):.2f} per key "
        f"({sum(c['n_prefilled'] for c in later) / max(1, len(later)):.2f} per request that reached the engine)",
        f"tokens reused {sum(c['n_reused'] for c in engine)}, decoded {sum(c['n_decoded'] for c in engine)}",
        f"first token: {first[0]['first_token_ms']:.0f} ms cold, p50 {first_tokens[len(first_tokens) // 2]:.0f} ms warm"
        if first_tokens
        else "no request but the first reached the engine",
        f"waited p50 {waits[len(waits) // 2]:.0f} ms, p90 {waits[len(waits) * 9 // 10]:.0f} ms",
        f"finish reasons {dict(Counter(c['finish_reason'] for c in engine))}",
    ]
    sys.stdout.write("\n".join(lines) + "\n")


def _position(text: str) -> dict[str, int]:
    return {"line": text.count("\n"), "character": len(text) - text.rfind("\n") - 1}


if __name__ == "__main__":
    main()
