"""The shape of the package: who imports whom, what is public, what an import costs."""

from __future__ import annotations

import ast
import functools
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import confusius_datasets
from builders import counting, write_nifti

PACKAGE = Path(confusius_datasets.__file__).parent
PROJECT = PACKAGE.parents[1]

ROOMS = [
    "errors",
    "_text",
    "_paths",
    "_cache",
    "_entities",
    "_sidecars",
    "_damage",
    "_index",
    "_sources",
    "_selection",
    "_spec",
    "_download",
    "_progress",
    "_local",
    "_layout",
    "_io",
    "_atlas",
    "_dataset",
    "_plot",
    "_fetch",
    "_catalog",
    "_open",
    "_demo",
    "_cli",
]
"""Every room, below those it may import."""

FACES = {"__init__", "__main__", "sources", "testing"}
"""What users and those who extend the package import; they may import any room, none them."""

MUST_NOT_KNOW = {
    "_text": set(ROOMS),
    "_paths": set(ROOMS) - {"errors", "_text"},
    "_cache": {"_index", "_sources", "_catalog"},
    "_entities": set(ROOMS),
    "_sidecars": set(ROOMS) - {"errors", "_cache"},
    "_damage": set(ROOMS) - {"errors", "_text", "_paths", "_cache"},
    "_index": {"_sources"},
    "_sources": {"_selection", "_entities", "_layout"},
    "_selection": {"_sources"},
    "_spec": {"_cache", "_layout", "_download"},
    "_download": {"_layout", "_progress", "_entities", "_selection", "_spec"},
    "_progress": set(ROOMS) - {"_download", "_text", "_paths"},
    "_local": {"_selection", "_layout", "_fetch"},
    "_layout": {"_sources", "_download", "_spec"},
    "_io": {"_sources", "_download", "_layout", "_selection", "_local", "_index"},
    "_atlas": {"_sources", "_download", "_layout", "_selection", "_index", "_local"},
    "_plot": {"_sources", "_download", "_local", "_index"},
    "_fetch": {"_layout"},
    "_catalog": {"_layout", "_io", "_download", "_local"},
    "_open": {"_layout", "_io", "_download", "_sources"},
}
"""What a room must not import although it stands above."""

MUTABLE_STATE = {
    "_cache.process._made_per_process": "os.register_at_fork knows no instances",
    "_cache.process._of_parents": "what a child took over by a fork must not be closed there",
    "_sources.http._shared_client": "a host counts the requests of a process, not of a dataset",
    "_download.partial._writing": "a process id cannot tell two threads of one process apart",
    "_io.bytes.readers.READERS": "arrays of one file share its open handle and its seek index",
}
"""What changes while a module lives, with the reason; in four modules at most."""

HEAVY = ["bids", "pandas", "nibabel", "xarray", "requests", "rich", "numpy", "matplotlib"]


def room_of(module: str) -> str:
    """Return the room of a module of ours."""
    return module.removeprefix("confusius_datasets").strip(".").split(".")[0] or "__init__"


@functools.cache
def imports_of(path: Path) -> frozenset[str]:
    """Return the modules of ours that a file imports, as dotted names."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import in line {node.lineno}"
            found.add(str(node.module))
    return frozenset(name for name in found if name.split(".")[0] == "confusius_datasets")


def files_of_rooms() -> list[tuple[str, Path]]:
    """List every file of the package with its room; those that may import any are left out."""
    files = []
    for path in sorted(PACKAGE.rglob("*.py")):
        room = path.relative_to(PACKAGE).with_suffix("").parts[0]
        if room not in FACES:
            files.append((room, path))
    return files


@pytest.mark.parametrize(("room", "path"), files_of_rooms(), ids=lambda value: str(value)[-40:])
def test_room_imports_only_rooms_above_it(room: str, path: Path) -> None:
    """Imports point one way, and not where the design says a room must not know."""
    above = set(ROOMS[: ROOMS.index(room) + 1])
    imported = {room_of(name) for name in imports_of(path)}
    if room == "_cli":
        imported -= {"__init__"}  # the public face is what the command calls

    assert imported <= above
    assert not imported & (MUST_NOT_KNOW.get(room, set()) - {room})


def module_of(path: Path) -> str:
    """Return the dotted name of a file of ours."""
    relative = path.relative_to(PACKAGE.parent).with_suffix("")
    return ".".join(relative.parts).removesuffix(".__init__")


def test_no_file_imports_itself_through_others() -> None:
    """There is no circle among files, imports inside functions included.

    A file that takes a name from its own folder's `__init__` counts as importing what that does.
    """
    files = {module_of(path): path for _, path in files_of_rooms()}
    left = {
        module: {name for name in imports_of(path) if name in files and name != module}
        for module, path in files.items()
    }
    # Take away whatever imports nothing that is left, and whatever nothing left imports.
    while True:
        imported = set().union(*left.values())
        inside = {module for module in left if left[module] and module in imported}
        if len(inside) == len(left):
            break
        left = {module: left[module] & inside for module in inside}

    assert not left, f"these files import each other: {sorted(left)}"


STATEFUL = {"PerProcess", "Lock", "RLock", "local", "ContextVar", "WeakSet", "WeakKeyDictionary"}
STATEFUL |= {"WeakValueDictionary", "count", "Session"}
"""Classes whose objects are there to change."""

CONTAINERS = {"dict", "list", "set", "defaultdict", "OrderedDict", "deque", "Counter"}
"""Classes whose objects may be there to change."""

CHANGING = {"append", "extend", "insert", "pop", "popitem", "remove", "clear", "add", "discard"}
CHANGING |= {"update", "setdefault", "move_to_end", "popleft"}
"""Methods that change a container."""


def state_of(path: Path) -> set[str]:
    """Return the globals of a file that change; caches of pure functions do not count."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    state, containers = set(), set()
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        names = {target.id for target in targets if isinstance(target, ast.Name)}
        value = getattr(node, "value", None)
        made = ast.unparse(value.func).split(".")[-1] if isinstance(value, ast.Call) else ""
        if made in STATEFUL:
            state |= names
        elif made in CONTAINERS or isinstance(value, ast.Dict | ast.List | ast.Set):
            containers |= names
    for node in ast.walk(tree):
        if isinstance(node, ast.Global):
            state |= set(node.names)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr in CHANGING:
                state |= containers & {ast.unparse(node.func.value)}
        elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del):
            state |= containers & {ast.unparse(node.value)}
    return {f"{module_of(path).removeprefix('confusius_datasets.')}.{name}" for name in state}


def test_state_of_modules_is_what_has_a_reason() -> None:
    """Nothing global changes but in four modules at most, each name with its reason."""
    found = {name for _, path in files_of_rooms() for name in state_of(path)}

    assert found == set(MUTABLE_STATE)
    assert len({name.rpartition(".")[0] for name in found}) <= 4
    assert all(MUTABLE_STATE.values())


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.name)
def test_private_names_stay_in_their_file(path: Path) -> None:
    """Nobody imports a name with an underscore from another file of ours."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("confusius_datasets"):
            private = [alias.name for alias in node.names if alias.name.startswith("_")]
            if node.module != "confusius_datasets":
                assert private in ([], ["__version__"]), f"{path}:{node.lineno}"


def test_every_file_has_a_room() -> None:
    """A new file needs a place in the design."""
    assert {room for room, _ in files_of_rooms()} == set(ROOMS)


def test_public_names_are_those_documented() -> None:
    """The names of the package, of its listing, and of the API reference are the same."""
    reference = (PROJECT / "docs" / "reference" / "api.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"^   (\w+)$", reference, flags=re.MULTILINE))

    assert set(confusius_datasets.__all__) == documented
    assert set(confusius_datasets.__all__) <= set(dir(confusius_datasets))
    for name in confusius_datasets.__all__:
        assert getattr(confusius_datasets, name).__name__ == name


def test_star_import_brings_the_public_names_and_no_other() -> None:
    """`from confusius_datasets import *` gives what is documented."""
    names: dict[str, object] = {}
    exec("from confusius_datasets import *", names)  # noqa: S102

    assert set(names) - {"__builtins__"} == set(confusius_datasets.__all__)


def test_dir_lists_what_is_public_alone() -> None:
    """Neither our files nor what they import are offered for completion."""
    listed = {name for name in dir(confusius_datasets) if not name.startswith("__")}

    assert listed == {*confusius_datasets.__all__, "errors", "sources"}


def test_errors_are_there_without_an_import_of_their_own() -> None:
    """`except confusius_datasets.errors.OfflineError` works from the first line on."""
    script = "import confusius_datasets as c; print(c.errors.OfflineError.__name__)"
    command = [sys.executable, "-c", script]

    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == (
        "OfflineError\n"
    )


@pytest.mark.slow
def test_type_checkers_see_the_public_names_as_they_are(tmp_path: Path) -> None:
    """Lazy names are no `Any`: an argument that does not exist is found before running."""
    code = (
        "import confusius_datasets as cf\n"
        "reveal_type(cf.fetch_sample(subjects={'mouse1'}))\n"
        "reveal_type(cf.fetch_sample() / 'x')\n"
        "cf.fetch_sample(subject='mouse1')\n"
        "cf.errors.OfflineError\n"
    )
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path), "-c", code]

    found = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)

    assert '"confusius_datasets._dataset.dataset.BIDSDataset"' in found.stdout
    assert '"pathlib.Path"' in found.stdout
    assert "Found 1 error" in found.stdout
    assert 'Unexpected keyword argument "subject"' in found.stdout


def test_unknown_public_name_is_an_attribute_error() -> None:
    """Lazy names do not hide typing errors."""
    with pytest.raises(AttributeError, match="no attribute 'fetch_everything'"):
        confusius_datasets.fetch_everything  # noqa: B018


def test_import_brings_no_large_package() -> None:
    """`import confusius_datasets` alone is quick: what it stands on comes when first used."""
    script = (
        "import sys, json; import confusius_datasets\n"
        f"print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    )

    assert json.loads(_printed_by(script)) == []


@pytest.mark.slow
def test_loading_a_recording_does_not_bring_dask(tmp_path: Path) -> None:
    """Half a second of imports that nobody needs who did not ask for chunks."""
    recording = tmp_path / "sub-01" / "fusi" / "sub-01_task-rest_pwd.nii.gz"
    write_nifti(recording, counting((4, 3, 2, 5)))
    script = (
        "import sys; from confusius_datasets import open_dataset\n"
        f"dataset = open_dataset({str(tmp_path)!r})\n"
        "print(dataset.load(subject='01').values.any())\n"
        "print(any(name.partition('.')[0] == 'dask' for name in sys.modules))"
    )

    assert _printed_by(script).split() == ["True", "False"]


def _printed_by(script: str) -> str:
    command = [sys.executable, "-c", script]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
