"""What our own command line asks the daemon beside LSP, and the name it gives itself at `initialize`."""

COMMAND_LINE = "codex-lsp command line"

# The record of the last request for a document: {uri} → completer.Record, or null.
LAST_REQUEST = "codexLsp/lastRequest"
# Everything `codex-lsp daemon status --json` prints.
STATUS = "codexLsp/status"
# End the daemon.
STOP = "codexLsp/stop"
# Prefill and decode speed, measured now; {error} when there is no model.
MEASURE = "codexLsp/measure"
