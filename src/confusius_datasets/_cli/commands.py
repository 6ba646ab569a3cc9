"""What each command does: a public call, and its answer as text or JSON.

Each takes the parsed arguments and returns the exit status.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import inspect
import json
import logging
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import confusius_datasets
from confusius_datasets._entities import INTEGER_ENTITIES
from confusius_datasets._open import DATASETS, find_named, plan_fetch
from confusius_datasets._progress import TIME_FORMAT
from confusius_datasets._text import count_files, format_nbytes, list_some
from confusius_datasets.errors import ArgumentError, FilterError

if TYPE_CHECKING:
    import pandas as pd

    from confusius_datasets import BIDSDataset

__all__ = [
    "cite",
    "demo",
    "evict",
    "fetch",
    "get_files",
    "list_all",
    "list_files",
    "print_completion",
    "show_cache",
    "show_info",
    "verify",
]

LABELS = ("subject", "session", "task", "acquisition", "run", "datatype", "suffix")
"""Entities whose values `info` lists."""


def list_all(options: argparse.Namespace) -> int:
    """Print every dataset, and how much of it is on disk."""
    from rich.console import Console
    from rich.table import Table

    here = confusius_datasets.cache_info(options.data_dir)
    rows: list[dict[str, Any]] = [
        {
            "name": name,
            "fetcher": spec.fetcher,
            "nbytes": spec.nbytes or None,
            "nbytes_on_disk": _nbytes_in(here, (spec.folder, *spec.earlier_folders)),
            "license": spec.license,
            "url": spec.url,
        }
        for name, spec in DATASETS.items()
    ]
    if options.json:
        return _print_json(rows)
    table = Table(title="Available Datasets")
    table.add_column("Name", overflow="fold")  # what every other command takes
    table.add_column("Size", justify="right", no_wrap=True)
    table.add_column("On disk", justify="right", no_wrap=True)
    for row in rows:
        size = format_nbytes(row["nbytes"]) if row["nbytes"] else "?"
        table.add_row(row["name"], size, _word_share(row))
    Console().print(table)
    return 0


def _nbytes_in(cache: pd.DataFrame, folders: tuple[str, ...]) -> int:
    """Add up what is in some folders, or in those of releases below them."""
    below = tuple(f"{folder}/" for folder in folders)
    is_there = cache.folder.isin(folders) | cache.folder.str.startswith(below)
    return int(cache.nbytes[is_there.astype(bool)].sum())


def _word_share(row: Mapping[str, Any]) -> str:
    """Say how much of a dataset is on disk; a part is never called nothing, nor all."""
    here, whole = row["nbytes_on_disk"], row["nbytes"]
    if not here or not whole:
        return format_nbytes(here) if here else "-"
    return f"{min(max(round(100 * here / whole), 1), 100 if here >= whole else 99)} %"


def show_info(options: argparse.Namespace) -> int:
    """Tell about a dataset what is known without a download."""
    dataset = _open(options)
    here = dataset.to_df(on_disk=True)
    facts: dict[str, Any] = {
        "name": dataset.dataset_name,
        "root": str(dataset.root),
        "version": dataset.version,
        "license": dataset.license,
        "url": dataset.url,
        "citation": dataset.citation,
        "n_files": len(dataset.index) or len(here),
        "nbytes": dataset.index.nbytes or int(here["size"].sum()),
        "n_files_on_disk": len(here),
        "nbytes_on_disk": int(here["size"].sum()),
        "labels": {
            entity: [str(label) for label in dataset.get(return_type="id", target=entity)]
            for entity in LABELS
            if entity in dataset.layout.get_entities(metadata=False)
        },
    }
    if options.json:
        return _print_json(facts)
    for key in ("name", "root", "version", "license", "url"):
        if facts[key]:
            print(f"{key:<9}{facts[key]}")
    print(f"size     {count_files(facts['n_files'])}, {format_nbytes(facts['nbytes'])}")
    print(f"on disk  {count_files(len(here))}, {format_nbytes(facts['nbytes_on_disk'])}")
    for entity, labels in facts["labels"].items():
        print(f"{entity}: {list_some(labels, limit=30)}")
    if facts["citation"]:
        print(f"cite     {facts['citation']}")
    return 0


def list_files(options: argparse.Namespace) -> int:
    """Print the files of a query; none is downloaded."""
    import pandas as pd

    dataset, query = _open(options), _query(options)
    with warnings.catch_warnings(record=True) as doubts:
        warnings.simplefilter("always")
        table = dataset.to_df(on_disk=options.on_disk, **query)
    if table.empty:
        dataset.missing(**query)  # a label that exists nowhere is an error there
    for doubt in doubts:
        warnings.warn(doubt.message, stacklevel=2)
    if options.json:
        return _print_json(_records(table))
    for row in table.itertuples():
        mark = "here" if row.on_disk else "-"
        size = "?" if pd.isna(row.size) else format_nbytes(int(row.size))
        print(f"{size:>9}  {mark:<4}  {row.path}" if options.long else row.path)
    return 0


def get_files(options: argparse.Namespace) -> int:
    """Download the files of a query, and print where they are."""
    _log_progress(options)
    query = _query(options)
    if not query:
        raise ArgumentError("get needs a query, such as --subject; for a whole dataset, use fetch.")
    with _notice_aside():
        dataset = confusius_datasets.fetch_dataset(
            options.name,
            options.data_dir,
            download=False,
            progress=not options.quiet,
            print_citation=not options.quiet,
        )
    found = dataset.download(progress=not options.quiet, **query)
    if options.json:
        return _print_json([str(path) for path in found])
    for path in found:
        print(path)
    return 0


def fetch(options: argparse.Namespace) -> int:
    """Fetch a dataset, or say what that would download."""
    given = {name: getattr(options, name) for name in options.filters if getattr(options, name)}
    if options.dry_run:
        return _plan(options, given)
    _log_progress(options)
    fetcher = _find_fetcher(options, plain=options.quiet or options.json)
    extra = {"reconstruction": options.reconstruction, "sourcedata": options.sourcedata or None}
    given |= {name: value for name, value in extra.items() if value is not None}
    given |= {"version": options.version} if options.version else {}
    taken = inspect.signature(fetcher).parameters
    if unknown := [name for name in given if name not in taken]:
        takes = ", ".join(f"--{name}" for name in options.filters if name in taken)
        raise FilterError(
            f"{options.name} has no filter --{unknown[0]}; it takes {takes or 'no filters'}."
        )
    usual = {
        "refresh": options.refresh,
        "download": not options.no_download,
        "progress": not options.quiet,
        "print_citation": not options.quiet,
    }
    usual = {name: value for name, value in usual.items() if name in taken}
    with _notice_aside() if options.json else contextlib.nullcontext():
        fetched = fetcher(data_dir=options.data_dir, **given, **usual)
    if options.json:
        here = fetched.to_df(on_disk=True)
        return _print_json(
            {
                "root": str(fetched.root),
                "n_files": len(fetched.index),
                "nbytes": fetched.index.nbytes,
                "n_files_on_disk": len(here),
                "nbytes_on_disk": int(here["size"].sum()),
            }
        )
    print(fetched if options.quiet else repr(fetched))
    return 0


def _find_fetcher(options: argparse.Namespace, *, plain: bool) -> Callable[..., Any]:
    """Return the function that fetches a dataset; that of a template would give its array."""
    spec = find_named(options.name)
    if spec and spec.fetcher and not (plain and spec.file) and "@" not in options.name:
        fetcher: Callable[..., Any] = getattr(confusius_datasets, spec.fetcher)
        return fetcher
    return functools.partial(confusius_datasets.fetch_dataset, options.name)


def _plan(options: argparse.Namespace, given: dict[str, Any]) -> int:
    """Say what a fetch would download."""
    if options.reconstruction:
        given["reconstruction"] = options.reconstruction
    if options.sourcedata:
        given["sourcedata"] = "all"
    entries = plan_fetch(
        options.name, options.data_dir, given, version=options.version, refresh=options.refresh
    )
    nbytes = sum(entry.size or 0 for entry in entries)
    if options.json:
        files = [{"path": entry.relpath, "size": entry.size} for entry in entries]
        return _print_json({"n_files": len(entries), "nbytes": nbytes, "files": files})
    for entry in entries if not options.quiet else []:
        print(entry.relpath)
    print(f"{count_files(len(entries))}, {format_nbytes(nbytes)} to download")
    return 0


def verify(options: argparse.Namespace) -> int:
    """Hash what is on disk, and name what is not as it should be; missing files are no fault."""
    _log_progress(options)
    dataset = _open(options)
    table = dataset.verify(repair=options.repair, progress=not options.quiet, **_query(options))
    counts = {str(status): int(number) for status, number in table.status.value_counts().items()}
    bad = table[~table.status.isin(["ok", "missing"])]
    if options.json:
        _print_json({"root": str(dataset.root), "counts": counts, "files": _records(bad)})
    else:
        for row in bad.itertuples():
            print(f"{row.status}: {row.path}")
        told = ", ".join(f"{number} {status}" for status, number in sorted(counts.items()))
        print(f"{dataset.root}: {told or 'no files'}")
        if counts.get("corrupt"):
            print("Run it with --repair to download what is corrupt again.")
    return 1 if counts.get("corrupt") else 0


def cite(options: argparse.Namespace) -> int:
    """Print what to cite, and the licence."""
    spec = find_named(options.name)
    about: Any = spec if spec and spec.citation else _open(options)
    facts = {"citation": about.citation, "bibtex": about.bibtex, "license": about.license}
    if options.json:
        return _print_json(facts)
    text = facts["bibtex" if options.bibtex else "citation"]
    name = getattr(about, "dataset_name", options.name)
    print(text or f"It is not known what to cite for {name}.")
    if not options.bibtex:
        print(f"Licence: {facts['license'] or 'not known'}")
    return 0


def evict(options: argparse.Namespace) -> int:
    """Delete files that the host can give again."""
    gone = _open(options).evict(force=options.force, **_query(options))
    if options.json:
        return _print_json([str(path) for path in gone])
    print(f"{count_files(len(gone))} deleted")
    return 0


def show_cache(options: argparse.Namespace) -> int:
    """Print what the folder of all datasets holds."""
    table = confusius_datasets.cache_info(options.data_dir)
    if options.json:
        return _print_json(_records(table))
    for row in table.itertuples():
        print(f"{format_nbytes(row.nbytes):>9}  {count_files(row.n_files):>12}  {row.path}")
    print(f"{format_nbytes(int(table.nbytes.sum())):>9}  in all")
    return 0


def demo(options: argparse.Namespace) -> int:
    """Give the tour."""
    from confusius_datasets._demo import run_demo

    run_demo(options.output, data_dir=options.data_dir)
    return 0


def print_completion(options: argparse.Namespace) -> int:
    """Print what a shell runs to complete the command."""
    import argcomplete

    code: str = argcomplete.shellcode(["confusius-datasets"], shell=options.shell)  # type: ignore[attr-defined]
    print(code)
    return 0


# The steps of the above.


def _open(options: argparse.Namespace) -> BIDSDataset:
    """Open the dataset that is named."""
    quiet = getattr(options, "quiet", False)
    return confusius_datasets.open_dataset(
        options.name, data_dir=options.data_dir, progress=not quiet
    )


def _notice_aside() -> contextlib.AbstractContextManager[object]:
    """Let what to cite, and the licence, be printed where it is in no script's way."""
    return contextlib.redirect_stdout(sys.stderr)


def _query(options: argparse.Namespace) -> dict[str, Any]:
    """Read the query, in PyBIDS's terms."""
    names = ("subject", "session", "task", "acquisition", "run", "datatype", "suffix", "extension")
    query = {name: getattr(options, name) for name in names if getattr(options, name)}
    for item in options.where or ():
        name, equals, value = item.partition("=")
        if not equals:
            raise ArgumentError(f"--where {item!r}: expected NAME=VALUE.")
        query.setdefault(name, []).append(value)
    query = {name: [_read_value(name, value) for value in values] for name, values in query.items()}
    return query | ({"scope": options.scope} if options.scope else {})


def _read_value(name: str, value: str) -> Any:
    """Read a value; those of numbered entities and of metadata fields may be numbers."""
    if name in INTEGER_ENTITIES or name[:1].isupper():
        try:
            return json.loads(value)
        except ValueError:
            return value.removeprefix(f"{name}-")
    prefixes = {"subject": "sub-", "session": "ses-", "task": "task-", "acquisition": "acq-"}
    return value.removeprefix(prefixes.get(name, ""))


def _log_progress(options: argparse.Namespace) -> None:
    """Tell progress in lines where there is no terminal to draw a bar on."""
    if not options.quiet:
        has_terminal = sys.stderr is not None and sys.stderr.isatty()
        form = "%(message)s" if has_terminal else "%(asctime)s %(message)s"
        logging.basicConfig(format=f"confusius-datasets: {form}", datefmt=TIME_FORMAT)
        logging.getLogger("confusius_datasets").setLevel(logging.INFO)


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Turn a table into JSON objects; what a row lacks is left out."""
    return [
        {
            name: value if isinstance(value, bool | int | float | Path) else _plain(value)
            for name, value in row.items()
            if value == value and value is not None and str(value) != "<NA>"
        }
        for row in table.to_dict("records")
    ]


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else str(value)


def _print_json(document: Any) -> int:
    """Print a document as JSON."""
    json.dump(document, sys.stdout, indent=2, ensure_ascii=False, default=str)
    print()
    return 0
