"""`codex-lsp model list | pull | use | path | rm`: what a person types and reads."""

import argparse
import json
import sys
import tomllib
from pathlib import Path

from codex_lsp import paths
from codex_lsp.models import catalogue, gguf, store
from codex_lsp.models.catalogue import CatalogueModel
from codex_lsp.models.download import megabytes
from codex_lsp.models.errors import ModelError, ModelMissing, NothingFits, PullInterrupted
from codex_lsp.models.progress import ProgressBar

# What a shell reports for a program that Ctrl-C ended.
INTERRUPTED = 130


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `model` and what stands below it to the command line; each sets `run`, giving an exit code."""
    parser = commands.add_parser("model", help="list, download, choose and remove models")
    below = parser.add_subparsers(required=True, metavar="COMMAND")

    listing = below.add_parser("list", help="the models there are and the ones that are here")
    listing.add_argument("--json", action="store_true", help="for programs")
    listing.set_defaults(run=model_list)

    pulling = below.add_parser("pull", help="download a model; what is here of it already is kept")
    pulling.add_argument("source", metavar="NAME", help="a name from the list, an https:// address, or a file")
    pulling.set_defaults(run=model_pull)

    using = below.add_parser("use", help="write the model into your settings")
    using.add_argument("name", metavar="NAME", help="a model that is here, or the path of a GGUF file")
    using.set_defaults(run=model_use)

    finding = below.add_parser("path", help="where a model's file lies")
    finding.add_argument("name", metavar="NAME", nargs="?", help="default: the model in use")
    finding.set_defaults(run=model_path)

    removing = below.add_parser("rm", help="delete a model's file")
    removing.add_argument("name", metavar="NAME")
    removing.set_defaults(run=model_rm)


def model_list(arguments: argparse.Namespace) -> int:
    """Print the catalogue and every other model that is here."""
    try:
        current = _current()
    except ModelError as error:
        return _fail(error)
    rows = [_row(model, current) for model in catalogue.load()]
    rows += [
        {
            "name": entry.name,
            "size": entry.size,
            "installed": str(entry.path),
            "current": entry.path == current,
        }
        for entry in store.installed()
        if entry.model is None
    ]
    if arguments.json:
        print(json.dumps(rows, indent=2))
    else:
        _print_table(rows)
    return 0


def model_pull(arguments: argparse.Namespace) -> int:
    """Download a model, showing how far it is, and say how to use it."""
    try:
        with ProgressBar(sys.stderr) as bar:
            _warn_of_licence(arguments.source, bar)
            path = store.pull(arguments.source, bar, bar.say)
        info = gguf.read(path)
    except PullInterrupted as stopped:
        _fail(stopped)
        return INTERRUPTED
    except ModelError as error:
        return _fail(error)
    print(f"{path} is ready: {info.architecture}, {megabytes(info.size)}.")
    if not info.knows_holes:
        print(
            "Prefix only: its vocabulary has no fill-in-the-middle tokens, so it will not see the text "
            "after the cursor. It works, but a model from `codex-lsp model list` fits better."
        )
    print(f"To use it: codex-lsp model use {_name_of(path)}")
    return 0


def model_use(arguments: argparse.Namespace) -> int:
    """Write the model into the user's settings, leaving everything else in the file as it is."""
    try:
        path = store.resolve(arguments.name)
        name = _name_of(path)
        _write_setting(name)
    except ModelError as error:
        return _fail(error)
    print(f"{paths.config_file()} now says: model = {json.dumps(name)}")
    return 0


def model_path(arguments: argparse.Namespace) -> int:
    """Print where a model's file lies, by default that of the model in use."""
    try:
        print(store.resolve(arguments.name if arguments.name is not None else _setting()))
    except ModelError as error:
        return _fail(error)
    return 0


def model_rm(arguments: argparse.Namespace) -> int:
    """Delete a model's file."""
    try:
        path = store.remove(arguments.name)
        setting = _setting()
    except ModelError as error:
        return _fail(error)
    print(f"{path} is removed.")
    if setting in {arguments.name, str(path)}:
        print("Your settings still name it. Choose another one: codex-lsp model use NAME")
    return 0


def _row(model: CatalogueModel, current: Path | None) -> dict[str, object]:
    path = paths.models_dir() / model.file
    return {
        "name": model.name,
        "size": model.size,
        "size_exact": model.size_exact,
        "memory": model.memory,
        "licence": model.licence,
        "licence_note": model.licence_note,
        "commercial": model.commercial,
        "fim": model.fim,
        "source": f"{model.repo}/{model.file}",
        "sha256": model.sha256,
        "package_index": model.parts is not None,
        "installed": str(path) if path.exists() else None,
        "current": path == current,
    }


def _print_table(rows: list[dict[str, object]]) -> None:
    cells = [("", "NAME", "SIZE", "MEMORY", "LICENCE", "")] + [_cells(row) for row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    for row in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print("\n* in use   here: downloaded   ~ about")


def _cells(row: dict[str, object]) -> tuple[str, str, str, str, str, str]:
    size, memory = row["size"], row.get("memory")
    return (
        "*" if row["current"] else "",
        str(row["name"]),
        ("" if row.get("size_exact", True) else "~") + (megabytes(size) if isinstance(size, int) else ""),
        megabytes(memory) if isinstance(memory, int) else "",
        str(row.get("licence", "")) + ("" if row.get("commercial", True) else " (not for commercial use)"),
        "here" if row["installed"] else "",
    )


def _warn_of_licence(source: str, bar: ProgressBar) -> None:
    model = next((model for model in catalogue.load() if model.name == source.lower()), None)
    if model is not None and model.licence_note:
        word = "Warning: no commercial use" if not model.commercial else "Note"
        bar.say(f"{word}. {model.name} comes under {model.licence}: {model.licence_note}.")


def _current() -> Path | None:
    """The model in use, None when there is none."""
    try:
        return store.resolve(_setting())
    except (ModelMissing, NothingFits):
        return None


def _setting() -> str:
    """The user's setting `model`; "" when there is none."""
    try:
        value = tomllib.loads(_config_text()).get("model", "")
    except tomllib.TOMLDecodeError as error:
        raise ModelError(f"{paths.config_file()} is not valid TOML: {error}. Correct the file.") from error
    return value if isinstance(value, str) else ""


def _write_setting(name: str) -> None:
    import tomlkit  # here, because every command of codex-lsp imports this module
    import tomlkit.exceptions

    try:
        document = tomlkit.parse(_config_text())
    except tomlkit.exceptions.ParseError as error:
        raise ModelError(f"{paths.config_file()} is not valid TOML: {error}. Correct the file.") from error
    document["model"] = name
    config = paths.config_file()
    draft = config.with_suffix(".draft")
    try:
        config.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(tomlkit.dumps(document), encoding="utf-8")
        draft.replace(config)
    except OSError as error:
        raise ModelError(f"{config} cannot be written: {error.strerror}. Check its rights.") from error


def _config_text() -> str:
    try:
        return paths.config_file().read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"{paths.config_file()} cannot be read: {error}. Check the file.") from error


def _name_of(path: Path) -> str:
    """What the setting holds for a model: its name, or the path of a file that is not ours."""
    return next((entry.name for entry in store.installed() if entry.path == path), str(path))


def _fail(error: ModelError) -> int:
    print(f"codex-lsp: {error}", file=sys.stderr)
    return 1
