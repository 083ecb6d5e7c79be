"""Copilot-style inline suggestions in any LSP editor, from a code model on the user's own machine."""

__version__ = "0.1.0"
