"""The arguments of the command line, and what completes them."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import confusius_datasets
from confusius_datasets._cli.commands import (
    cite,
    demo,
    evict,
    fetch,
    get_files,
    list_all,
    list_files,
    print_completion,
    show_cache,
    show_info,
    verify,
)
from confusius_datasets._open import DATASETS, known_labels

__all__ = ["make_parser"]

FILTERS = {
    "datasets": "parts: rawdata, or names of derivatives",
    "subjects": "subjects, with or without sub-",
    "sessions": "sessions, with or without ses-",
    "tasks": "tasks, with or without task-",
    "acqs": "acquisitions, such as slices, with or without acq-",
    "runs": "runs, with or without run-",
    "datatypes": "kinds of data, such as fusi or angio",
}
"""Options of `fetch` that take labels, each where its dataset has that filter."""

ENTITIES = {
    "subject": "subjects",
    "session": "sessions",
    "task": "tasks",
    "acquisition": "acqs",
    "run": "runs",
    "datatype": "datatypes",
    "suffix": "",
    "extension": "",
    "scope": "",
}
"""Options of a query, with PyBIDS's names, and the filter that has the same labels."""

WHERE = "a name of `list`, an address such as osf:43skw/nunez-elizalde-2022-bids, or a folder"

DEMO_FIGURE = "confusius-datasets-demo.png"
"""Where `demo` puts its figure unless told otherwise."""

EPILOG = """exit status:
  0    done
  1    a host, a disk or a file failed; `verify`: a file on disk is corrupt
  2    a name, a label, an option or a setting is wrong; nothing was done
  130  interrupted

example: confusius-datasets ls nunez-elizalde-2022 --subject CR020 --suffix pwd --json"""


def make_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        prog="confusius-datasets",
        description="Functional-ultrasound datasets: find them, download what you need, check it.",
        epilog=EPILOG,
        formatter_class=functools.partial(
            argparse.RawDescriptionHelpFormatter, max_help_position=30
        ),
    )
    version = f"%(prog)s {confusius_datasets.__version__}"
    parser.add_argument("--version", action="version", version=version)
    add = _Adder(parser.add_subparsers(required=True, metavar="COMMAND"))
    add("list", list_all, "print the table of datasets, and how much of each is on disk")
    add("info", show_info, "tell about a dataset: labels, sizes, licence, citation", "N")
    listing = add("ls", list_files, "list the files of a query", "NQ")
    listing.add_argument("--long", action="store_true", help="with size, and whether on disk")
    listing.add_argument("--on-disk", action="store_true", help="only what is here")
    add("get", get_files, "download the files of a query, and print their paths", "NQP")
    _add_fetch(add)
    checking = add("verify", verify, "hash the files on disk, and name the bad ones", "NQP")
    checking.add_argument("--repair", action="store_true", help="download what is corrupt again")
    citing = add("cite", cite, "print what to cite", "N")
    citing.add_argument("--bibtex", action="store_true", help="as an entry of BibTeX")
    freeing = add("evict", evict, "delete files that can be downloaded again", "NQ")
    freeing.add_argument("--force", action="store_true", help="also what the host does not have")
    add("cache", show_cache, "print what the folder of all datasets holds")
    _add_demo(add)
    completion = add("completion", print_completion, "print a shell's completion", "-")
    completion.add_argument("shell", choices=["bash", "zsh"], help="eval what is printed")
    return parser


class _Adder:
    """Adds commands, each with the options that its letters stand for.

    `N` for a dataset, `Q` for a query, `P` for progress, `-` for nothing, not even the usual ones.
    """

    def __init__(self, subparsers: Any) -> None:
        self._subparsers = subparsers

    def __call__(
        self,
        name: str,
        run: Callable[[argparse.Namespace], int],
        what: str,
        letters: str = "",
        **options: Any,
    ) -> argparse.ArgumentParser:
        """Add a command."""
        command: argparse.ArgumentParser = self._subparsers.add_parser(name, help=what, **options)
        command.set_defaults(command=run)
        if "N" in letters:
            _complete(command.add_argument("name", metavar="NAME", help=WHERE), _complete_name)
        if "Q" in letters:
            _add_query(command)
        if "P" in letters:
            command.add_argument("--quiet", action="store_true", help="show no progress")
        if letters != "-":
            command.add_argument(
                "--data-dir",
                metavar="FOLDER",
                help="folder of all datasets (default: CONFUSIUS_DATA, or the platform's cache)",
            )
            command.add_argument("--json", action="store_true", help="print JSON")
        return command


def _add_query(command: argparse.ArgumentParser) -> None:
    """Add the entities of a query."""
    query = command.add_argument_group("query", "as in PyBIDS; repeated options add")
    for name in ENTITIES:
        option = query.add_argument(f"--{name}", nargs="+", action="extend", metavar="VALUE")
        _complete(option, _complete_label)
    query.add_argument(
        "--where",
        nargs="+",
        action="extend",
        metavar="NAME=VALUE",
        help="another entity, or a field of the JSON sidecars: space=fusi, RepetitionTime=0.3",
    )


def _add_fetch(add: _Adder) -> None:
    """Add the command that downloads a dataset or a part."""
    command = add(
        "fetch",
        fetch,
        "download a dataset, or the part that filters select",
        "N",
        usage="%(prog)s NAME [options]",  # in this order: a filter takes all words that follow it
        description="Download a dataset, or those of its files that all filters given let through.",
        epilog="example: confusius-datasets fetch nunez-elizalde-2022 --subjects CR020",
    )
    filters = command.add_argument_group("filters", "repeated options add")
    for name, what in FILTERS.items():
        option = filters.add_argument(
            f"--{name}", nargs="+", action="extend", metavar="LABEL", help=what
        )
        _complete(option, _complete_label)
    filters.add_argument("--reconstruction", choices=["both", "raw", "resampled"], help="khallaf")
    filters.add_argument("--sourcedata", action="store_true", help="khallaf: the scanner's files")
    command.add_argument("--version", metavar="VERSION", help="a release, such as 1.0.0 or latest")
    command.add_argument("--refresh", action="store_true", help="ask the host for new files")
    command.add_argument("--no-download", action="store_true", help="get the index alone")
    command.add_argument(
        "--dry-run", action="store_true", help="say what would be downloaded, and get the index"
    )
    command.add_argument("--quiet", action="store_true", help="print the folder's path and no more")
    command.set_defaults(filters=tuple(FILTERS))


def _add_demo(add: _Adder) -> None:
    """Add the tour."""
    command = add("demo", demo, "a tour on a built-in dataset; needs no network", "-")
    command.add_argument(
        "--output",
        type=Path,
        default=Path(DEMO_FIGURE),
        metavar="FIGURE",
        help="where the figure is written; a second one goes beside it (default: %(default)s)",
    )
    command.add_argument("--data-dir", metavar="FOLDER", help="folder of all datasets")


# Completion: called by the shell, so it looks at what is on disk and asks no host.


def _complete(argument: argparse.Action, complete: Callable[..., list[str]]) -> None:
    argument.completer = complete  # type: ignore[attr-defined]


def _complete_name(prefix: str, **context: Any) -> list[str]:
    return [name for name in DATASETS if name.startswith(prefix)]


def _complete_label(
    prefix: str, action: argparse.Action, parsed_args: argparse.Namespace, **context: Any
) -> list[str]:
    name = ENTITIES.get(action.dest, action.dest)
    labels = known_labels(parsed_args.name, name, getattr(parsed_args, "data_dir", None))
    return [label for label in labels if label.startswith(prefix)]
