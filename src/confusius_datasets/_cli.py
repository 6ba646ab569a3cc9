"""The command `confusius-datasets`: arguments in, the same public calls, text out."""

from __future__ import annotations

import argparse
import functools
import inspect
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import confusius_datasets
from confusius_datasets._open import DATASETS
from confusius_datasets._text import did_you_mean
from confusius_datasets.errors import (
    ArgumentError,
    ConfusiusDatasetsError,
    FilterError,
    SettingError,
)

__all__ = ["main"]

FILTERS = {
    "datasets": "parts: rawdata, or names of derivatives",
    "subjects": "subjects, with or without sub-",
    "sessions": "sessions, with or without ses-",
    "tasks": "tasks, with or without task-",
    "acqs": "acquisitions, such as slices, with or without acq-",
    "datatypes": "kinds of data, such as fusi or angio",
}
"""Options of `fetch` that take labels, each where its dataset has that filter."""

EXAMPLE = "example: confusius-datasets fetch nunez-elizalde-2022 --subjects CR020"

DEMO_FIGURE = "confusius-datasets-demo.png"
"""Where `demo` puts its figure unless told otherwise."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
        print(end="", flush=True)  # an output that cannot be written fails here at the latest
    except (ArgumentError, SettingError) as error:
        return _fail(error, 2)
    except BrokenPipeError:  # the reader has closed the pipe, as `head` does
        _drop_output()
        return 1
    except (ConfusiusDatasetsError, OSError) as error:
        return _fail(error, 1)
    except KeyboardInterrupt as error:  # that of a download says what was kept
        return _fail(str(error) or "Interrupted.", 130)
    return 0


def _fail(error: object, status: int) -> int:
    """Say on standard error what went wrong, and return the exit status."""
    _drop_output()
    print(f"confusius-datasets: {error}", file=sys.stderr)
    return status


def _drop_output() -> None:
    """Write what is left of the output, or discard it if that fails."""
    try:
        print(end="", flush=True)
    except OSError:
        # Python would try it again at exit, and fail with a traceback.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        prog="confusius-datasets",
        description="Public functional-ultrasound datasets: list them, fetch them, see a demo.",
    )
    version = f"%(prog)s {confusius_datasets.__version__}"
    parser.add_argument("--version", action="version", version=version)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    listing = commands.add_parser("list", help="print the table of datasets")
    listing.set_defaults(run=_list)
    fetch = commands.add_parser(
        "fetch",
        help="download a dataset, or the part that filters select",
        usage="%(prog)s NAME [options]",  # in this order: a filter takes all words that follow it
        description="Download a dataset, or those of its files that all filters given let through.",
        epilog=EXAMPLE,
    )
    fetch.add_argument("name", metavar="NAME", help=f"one of {', '.join(DATASETS)}")
    filters = fetch.add_argument_group("filters")
    for name, what in FILTERS.items():
        filters.add_argument(f"--{name}", nargs="+", action="extend", metavar="LABEL", help=what)
    fetch.add_argument("--refresh", action="store_true", help="ask the host for new files")
    fetch.add_argument("--no-download", action="store_true", help="get the index alone")
    fetch.add_argument("--quiet", action="store_true", help="show no progress and no citation")
    fetch.set_defaults(run=_fetch)
    demo = commands.add_parser("demo", help="a tour on a built-in dataset; needs no network")
    demo.add_argument(
        "--output",
        type=Path,
        default=Path(DEMO_FIGURE),
        metavar="FIGURE",
        help="where the figure is written; a second one goes beside it (default: %(default)s)",
    )
    demo.set_defaults(run=_demo)
    for command in (listing, fetch, demo):
        command.add_argument(
            "--data-dir",
            metavar="FOLDER",
            help="folder of all datasets (default: CONFUSIUS_DATA, or else the platform's cache)",
        )
    return parser


def _list(options: argparse.Namespace) -> None:
    """Print the table of datasets."""
    confusius_datasets.list_datasets(options.data_dir)


def _fetch(options: argparse.Namespace) -> None:
    """Fetch a dataset and say where it is."""
    fetcher = _find_fetcher(options.name)
    if not options.quiet:  # progress, where there is no terminal to draw a bar on
        logging.basicConfig(format="confusius-datasets: %(message)s")
        logging.getLogger("confusius_datasets").setLevel(logging.INFO)
    given = {name: getattr(options, name) for name in FILTERS if getattr(options, name)}
    given |= {
        "refresh": options.refresh,
        "download": not options.no_download,
        "progress": not options.quiet,
        "print_citation": not options.quiet,
    }
    taken = inspect.signature(fetcher).parameters
    if unknown := [name for name in FILTERS if name in given and name not in taken]:
        takes = ", ".join(f"--{name}" for name in FILTERS if name in taken) or "no filters"
        raise FilterError(f"{options.name} has no filter --{unknown[0]}; it takes {takes}.")
    fetched = fetcher(
        options.data_dir, **{name: value for name, value in given.items() if name in taken}
    )
    print(repr(fetched))


def _demo(options: argparse.Namespace) -> None:
    """Give the tour."""
    from confusius_datasets._demo import run_demo

    run_demo(options.output, data_dir=options.data_dir)


def _find_fetcher(name: str) -> Callable[..., Any]:
    """Return the fetcher of a name, which may also be that of the function."""
    plain = name.removeprefix("fetch_").replace("_", "-")
    if plain not in DATASETS:
        raise FilterError(
            f"There is no dataset {name!r}. {did_you_mean(plain, DATASETS)}"
            f"It is one of {', '.join(DATASETS)}."
        )
    name = DATASETS[plain].fetcher
    fetcher: Callable[..., Any] = getattr(confusius_datasets, name or "fetch_dataset")
    return fetcher if name else functools.partial(fetcher, plain)
