"""The rules that turn what a model wrote into what is shown: cases in `golden/`, one file for each language.

A case has the text around the cursor `█`, what the model wrote, why it stopped (`finish_reason`, "stop" unless
given), and what must be shown. `eol = "crlf"` gives the document the line ends of Windows.
"""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codex_lsp import postprocess
from codex_lsp.document import Document, Position, Snapshot
from codex_lsp.engine.request import FinishReason

GOLDEN = Path(__file__).parent / "golden"


def cases() -> list[Any]:
    return [
        pytest.param(file.stem, case, id=f"{file.stem}: {case['name']}")
        for file in sorted(GOLDEN.glob("*.toml"))
        for case in tomllib.loads(file.read_text("utf-8"))["case"]
    ]


def at_cursor(language: str, marked: str) -> Snapshot:
    before, _, after = marked.partition("█")
    document = Document("file:///golden", language, 1, before + after)
    position = Position(before.count("\n"), len(before) - before.rfind("\n") - 1)
    return document.snapshot(position, "utf-32", 0, document.line_count)


@pytest.mark.parametrize(("language", "case"), cases())
def test_golden(language: str, case: dict[str, str]) -> None:
    text = case["text"].replace("\n", "\r\n") if case.get("eol") == "crlf" else case["text"]
    reason = FinishReason(case.get("finish_reason", "stop"))
    assert postprocess.fit(case["completion"], at_cursor(language, text), reason) == case["expected"]


code = st.text(st.sampled_from("ab (){}[]\n;,\"'"), max_size=30)


@given(code, code, code, st.sampled_from(FinishReason))
def test_what_is_shown_is_the_beginning_of_what_the_model_wrote(
    before: str, after: str, text: str, reason: FinishReason
) -> None:
    shown = postprocess.fit(text, at_cursor("c", f"{before}█{after}"), reason)
    assert text.startswith(shown)
    assert shown == shown.rstrip()
