"""`codex-lsp`: without arguments the language server that editors start, with arguments the command line."""

import sys


def main() -> int:
    """Run the proxy or the command line; returns the exit code."""
    # Imported late: an editor's start must not pay for the command line.
    if sys.argv[1:] in ([], ["--stdio"]):
        from codex_lsp import proxy

        return proxy.main()
    from codex_lsp import cli

    return cli.main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
