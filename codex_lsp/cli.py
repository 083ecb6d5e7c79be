"""The command line. Each command is a function that takes its arguments and returns the exit code.

Modules are imported where they are used: `codex-lsp --help` must not load what `demo` needs.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from codex_lsp import __version__, methods, paths
from codex_lsp.client import Client, RequestFailed
from codex_lsp.connect import DaemonUnreachable, connect
from codex_lsp.models import commands as model_commands
from codex_lsp.models.errors import ModelError

EXIT_FAILED, EXIT_USAGE = 1, 2
LOG_LINES = 40
STOP_TIMEOUT_S = 10.0


def main(arguments: list[str]) -> int:
    """Run one command; returns the exit code."""
    options = _parser().parse_args(_place_last(arguments))
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        return run(options)
    except (DaemonUnreachable, RequestFailed, ModelError, UsageError, OSError) as error:
        print(f"codex-lsp: {error}", file=sys.stderr)
        return EXIT_USAGE if isinstance(error, UsageError) else EXIT_FAILED
    except KeyboardInterrupt:
        return 130


class UsageError(Exception):
    """The arguments do not fit the files they name."""


def complete(options: argparse.Namespace) -> int:
    """Print the completion that an editor would get at FILE:LINE:COL."""
    from codex_lsp.asking import ask

    path, text, line, column = _place(options.place, options.language)
    with Client(root=Path.cwd()) as client:
        answer = ask(client, path, text, line, column, options.language)
    if options.json:
        print(json.dumps({"file": options.place.rsplit(":", 2)[0], "line": line, "column": column, **answer}, indent=2))
    elif answer["completion"]:
        print(answer["completion"])
    else:
        print(f"codex-lsp: {answer['reason']}", file=sys.stderr)
    return EXIT_FAILED if answer["refusal"] in ("no_model", "engine_died") else 0


def demo(options: argparse.Namespace) -> int:
    """Show what the product does, on two bundled samples."""
    from codex_lsp import demo as demonstration

    return demonstration.run(options.model)


def doctor(options: argparse.Namespace) -> int:
    """Say what was found, chosen and measured, and what to do about anything wrong."""
    from codex_lsp import doctor as examination

    return examination.run(as_json=options.json)


def daemon_run(_: argparse.Namespace) -> int:
    """Run the daemon in this process."""
    from codex_lsp import daemon

    return daemon.run()


def daemon_start(_: argparse.Namespace) -> int:
    """Start the daemon if it is not running."""
    with Client() as client:
        print(f"The daemon runs (process {client.request(methods.STATUS)['pid']}).")
    return 0


def daemon_stop(_: argparse.Namespace) -> int:
    """Stop the daemon, and with it the engine."""
    print("The daemon has stopped." if _stop() else "No daemon was running.")
    return 0


def daemon_restart(options: argparse.Namespace) -> int:
    """Stop the daemon and start it anew."""
    _stop()
    return daemon_start(options)


def daemon_status(options: argparse.Namespace) -> int:
    """Print what the daemon is doing; exit code 1 when there is none."""
    connection = connect()
    if connection is None:
        print(json.dumps({"running": False}) if options.json else "No daemon is running. An editor starts it.")
        return EXIT_FAILED
    with Client(connection) as client:
        status = client.request(methods.STATUS)
    # The connection that asked is not an editor.
    status["connections"].remove(methods.COMMAND_LINE)
    print(json.dumps({"running": True, **status}, indent=2) if options.json else _status_text(status))
    return 0


def daemon_logs(options: argparse.Namespace) -> int:
    """Print the end of the daemon's and the engine's log."""
    for name in ("daemon.log", "engine.log"):
        path = paths.state_dir() / name
        lines = path.read_text("utf-8", "replace").splitlines() if path.is_file() else []
        print(f"── {path}")
        print("\n".join(lines[-options.lines :]))
    return 0


def _stop() -> bool:
    connection = connect()
    if connection is None:
        return False
    with Client(connection) as client:
        client.request(methods.STOP)
    give_up = time.monotonic() + STOP_TIMEOUT_S
    while (left := connect()) is not None:
        left.close()
        if time.monotonic() > give_up:
            raise DaemonUnreachable(f"The daemon does not stop; its log is {paths.log_path()}.")
        time.sleep(0.02)
    return True


def _place_last(arguments: list[str]) -> list[str]:
    """The arguments with `-:LINE:COL` at the end behind `--`; anywhere else argparse takes it for an option."""
    places = [argument for argument in arguments if argument.startswith("-:")]
    others = [argument for argument in arguments if argument not in places]
    return [*others, "--", *places] if places else arguments


def _place(place: str, language: str | None) -> tuple[Path, str, int, int]:
    """FILE:LINE:COL as path, text, line and column, both from 1, the column in characters."""
    name, line, column = (*place.rsplit(":", 2), "", "")[:3]
    if not (line.isdigit() and column.isdigit()):
        raise UsageError(f"{place!r} is not FILE:LINE:COL; lines and columns count from 1, as compilers print them.")
    if name == "-":
        text, path = sys.stdin.buffer.read().decode("utf-8", "replace"), Path.cwd() / "stdin"
        if language is None:
            raise UsageError("Standard input has no file name to tell the language by: add `--language python`.")
    else:
        path = Path(name).absolute()
        text = path.read_bytes().decode("utf-8", "replace")
    if int(line) < 1 or int(column) < 1:
        raise UsageError("Lines and columns count from 1.")
    return path, text, int(line), int(column)


def _status_text(status: dict[str, Any]) -> str:
    engine, requests = status["engine"], status["requests"]
    model = engine["model"]
    editors = ", ".join(name or "unnamed" for name in status["connections"]) or "none"
    memory = f"{status['memory_bytes'] / 1e6:.0f} MB"
    if engine["memory_bytes"]:
        memory += f", engine {engine['memory_bytes'] / 1e6:.0f} MB"
    lines = [
        f"daemon    process {status['pid']}, version {status['version']}, up {status['uptime_s']:.0f} s",
        f"editors   {editors}; {status['documents']} open documents",
        f"engine    {engine['state']}{': ' + engine['message'] if engine['message'] else ''}",
        f"model     {model['description']}, {Path(model['path']).name}" if model else "model     none loaded",
        f"memory    {memory}",
        f"requests  {requests.get('answered', 0)} answered, {requests.get('shown', 0)} shown, "
        f"{status['accepted']} accepted",
        f"tokens    {requests.get('tokens_prefilled', 0)} prefilled, {requests.get('tokens_reused', 0)} reused, "
        f"{requests.get('tokens_decoded', 0)} decoded",
    ]
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="codex-lsp",
        description="Inline suggestions from a code model on your own machine. Without arguments: the language "
        "server that an editor starts.",
    )
    parser.add_argument("--version", action="version", version=f"codex-lsp {__version__}")
    parser.add_argument("--stdio", action="store_true", help="what some editors add; the same as no arguments")
    commands = parser.add_subparsers(title="commands", required=True)

    command = commands.add_parser("demo", help="get a model if there is none, and complete two samples")
    command.add_argument("--model", help="a name from `codex-lsp model list`, or a path to a GGUF file")
    command.set_defaults(run=demo)

    command = commands.add_parser("complete", help="print the completion at FILE:LINE:COL")
    command.add_argument("place", metavar="FILE:LINE:COL", help="counted from 1; FILE - reads standard input")
    command.add_argument("--language", help="the language id, when the file's name does not tell")
    command.add_argument("--json", action="store_true", help="with where it came from and what it cost")
    command.set_defaults(run=complete)

    command = commands.add_parser("doctor", help="what was found, chosen and measured, and what to do")
    command.add_argument("--json", action="store_true")
    command.set_defaults(run=doctor)

    model_commands.add_parser(commands)
    _add_daemon_parser(commands)
    return parser


def _add_daemon_parser(commands: Any) -> None:
    daemon = commands.add_parser("daemon", help="the background process that editors share")
    actions = daemon.add_subparsers(title="actions", required=True)
    for name, run, text in (
        ("start", daemon_start, "start it; editors do that by themselves"),
        ("stop", daemon_stop, "stop it; the next editor starts it again"),
        ("restart", daemon_restart, "stop and start it"),
        ("run", daemon_run, "run it in the foreground"),
    ):
        actions.add_parser(name, help=text).set_defaults(run=run)
    action = actions.add_parser("status", help="what it is doing")
    action.add_argument("--json", action="store_true")
    action.set_defaults(run=daemon_status)
    action = actions.add_parser("logs", help="the end of its logs")
    action.add_argument("-n", "--lines", type=int, default=LOG_LINES)
    action.set_defaults(run=daemon_logs)
