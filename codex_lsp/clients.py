"""What the known editors do differently from each other, in one place."""

from typing import Any


class Client:
    """The editor at the other end, by the name it gave at `initialize`."""

    def __init__(self, name: str = "") -> None:
        self.name = name
        self._counts_triggers_from_0 = False

    @property
    def wants_line_start_range(self) -> bool:
        """VS Code's word-by-word accept flashes unless the range starts at the line's start.

        Everywhere else the range is empty, at the cursor: Neovim draws a non-empty one over the text to the
        right of it.
        """
        return self.name.startswith(("Visual Studio Code", "VSCodium", "code-server", "Code - OSS", "Cursor"))

    @property
    def keeps_line_ends(self) -> bool:
        """Whether inserted text stands in the file with the line ends we sent.

        Neovim and Emacs hold all text with "\\n" and write the file's own line ends on saving; a "\\r" from us
        would become a character in the buffer.
        """
        return not self.name.startswith(("Neovim", "emacs"))

    def speak_plainly(self, request: dict[str, Any]) -> None:
        """Turn an inline completion request of vscode-languageclient 9 into what LSP 3.18 says, in place.

        That version counts trigger kinds from 0, not 1, and writes ranges as arrays. A kind of 1 alone could be
        either; the first 0 or array tells.
        """
        params = request.get("params")
        context = params.get("context") if isinstance(params, dict) else None
        if not isinstance(context, dict):
            return
        selected = context.get("selectedCompletionInfo")
        if isinstance(selected, dict) and isinstance(selected.get("range"), list):
            self._counts_triggers_from_0 = True
            start, end = (*selected["range"], None, None)[:2]
            selected["range"] = {"start": start, "end": end}
        kind = context.get("triggerKind")
        if kind == 0:
            self._counts_triggers_from_0 = True
        if self._counts_triggers_from_0 and kind in (0, 1):
            context["triggerKind"] = kind + 1
