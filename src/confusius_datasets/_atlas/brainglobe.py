"""The border to `brainglobe-atlasapi`: all that is asked of it, and what becomes of its errors.

A local copy is opened where it lies, through the class that neither asks the network nor writes:
BrainGlobe's other class deletes a folder that it finds incomplete. Releases 2 and 3 of the package
lay their folders out differently, and each reads its own layout only.

Nothing else of ours calls that package, so whatever it raises is turned into our errors here, by
`brainglobe_errors_named`.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from confusius_datasets._atlas.documents import (
    REMEDY,
    check_release_2,
    check_release_3,
    find_image,
)
from confusius_datasets._atlas.folder import BrainGlobeFolder
from confusius_datasets._atlas.structures import Regions
from confusius_datasets._cache import is_offline
from confusius_datasets._text import quote_short, warn_user
from confusius_datasets.errors import (
    ConfusiusDatasetsError,
    FileFormatError,
    FilterError,
    MissingDependencyError,
    MissingFileError,
    OfflineError,
    RemoteConnectionError,
    RemoteNotFoundError,
    SourceError,
)

__all__ = [
    "brainglobe_errors_named",
    "first_missing_part",
    "load_mesh",
    "network_errors_named",
    "open_atlas",
    "read_image",
    "read_metadata",
    "read_regions",
]

PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")
"""Names of atlases are also names of folders."""

PARTS = ("metadata", "structures", "annotation", "hemispheres", "resolution", "shape")
"""What an object must have to be taken for one of BrainGlobe's."""

TIFFS = {"template": "reference.tiff"}
"""Images that release 2 keeps under another name."""


def open_atlas(
    name: str, folder: BrainGlobeFolder, *, version: str | None, check_latest: bool
) -> Any:
    """Open an atlas, from its local copy if there is one, downloading it otherwise."""
    if not PLAIN_NAME.fullmatch(name):
        raise FilterError(f"{name!r} cannot be the name of an atlas; one is 'allen_mouse_100um'.")
    if version is not None and not re.fullmatch(r"[0-9]{1,19}([._][0-9]{1,19})*", version):
        raise FilterError(f"{version!r} cannot be a version of an atlas; one is '1.2'.")
    api, core, release = _import_brainglobe()
    local = folder.find_atlas(name, version, release=release)
    if local is not None:
        opened = _open_local(core, local, release)
        if check_latest and not is_offline():
            _check_latest(api, name, folder, version=version, release=release)
        return opened
    if is_offline():
        raise OfflineError(_missing(name, folder, release), missing=[name])
    if release == 2 and version is not None:
        raise FilterError(
            f"There is no local copy of version {version} of {name}, and this release of "
            "brainglobe-atlasapi downloads the latest only: leave `version` out."
        )
    return _ask_brainglobe(
        api, name, folder, version=version, release=release, check_latest=check_latest
    )


def _open_local(core: Any, path: Path, release: int) -> Any:
    """Open a local copy where it lies; nothing is written, whatever is wrong with it."""
    if release == 2:
        check_release_2(path)
    else:
        check_release_3(path)
    with brainglobe_errors_named(path.name, path=path):
        return core.Atlas(path)


def _check_latest(
    api: Any, name: str, folder: BrainGlobeFolder, *, version: str | None, release: int
) -> None:
    """Let BrainGlobe say whether there is a newer version than the local one, if it can."""
    try:
        _ask_brainglobe(api, name, folder, version=version, release=release, check_latest=True)
    except SourceError as error:
        warn_user(
            f"Whether there is a newer version of {name} could not be found out; the local copy "
            f"is used. {error}"
        )


def _ask_brainglobe(
    api: Any,
    name: str,
    folder: BrainGlobeFolder,
    *,
    version: str | None,
    release: int,
    check_latest: bool,
) -> Any:
    """Open an atlas through the class that may ask the network."""
    unpacking = folder.download_folder()  # an error here names the file, BrainGlobe's does not
    options: dict[str, Any] = {"brainglobe_dir": folder.path, "check_latest": check_latest}
    if folder.config.exists():
        options["config_dir"] = folder.config  # the file, whatever BrainGlobe calls it
    if release == 3:
        options["version"] = version
    else:
        options["interm_download_dir"] = unpacking
    with network_errors_named(name):
        try:
            return api.BrainGlobeAtlas(name, **options)
        except ValueError as error:
            if release == 2:
                raise RemoteNotFoundError(_unknown(name)) from error
            # Release 3 knows of no atlas while its server does not answer, and calls each invalid.
            raise RemoteConnectionError(
                f"The atlas {name!r} is not in {folder.path}, and BrainGlobe's server does not "
                "answer. Check the connection, and try again."
            ) from error


def first_missing_part(thing: Any) -> str | None:
    """Name a part that an object lacks to be an open atlas; nothing if it has them all."""
    # Asked of the class: to compute some of these is to read whole images.
    known = {*dir(type(thing)), *getattr(thing, "__dict__", {})}
    return next((part for part in PARTS if part not in known), None)


def read_metadata(opened: Any) -> dict[str, Any]:
    """Read the metadata of an open atlas, with the shape and resolution that it works with."""
    with brainglobe_errors_named("?", path=_root_of(opened)):
        return {
            "citation": "",
            **opened.metadata,
            "shape": tuple(int(size) for size in opened.shape),
            "resolution": [float(um) for um in opened.resolution],
        }


def read_regions(opened: Any, name: str) -> Regions:
    """Read the regions of an open atlas."""
    with brainglobe_errors_named(name, path=_root_of(opened)):
        return Regions(opened.structures, source=f"the atlas {name!r}")


def read_image(opened: Any, kind: str) -> NDArray[Any]:
    """Read an image of an atlas; release 3 downloads it when it is first asked for."""
    name = str(opened.metadata.get("name", "?"))
    # Release 2 calls the template so, and release 3 prints a warning when asked by that name.
    attribute = "reference" if kind == "template" and not _is_release_3(opened) else kind
    with brainglobe_errors_named(name, path=_place_of(opened, kind)):
        return np.asarray(getattr(opened, attribute))


def _place_of(opened: Any, kind: str) -> Path | None:
    """Return what an image is read from, if it is on disk."""
    root = _root_of(opened)
    if root is None or not _is_release_3(opened):
        return root and root / TIFFS.get(kind, f"{kind}.tiff")
    if kind == "hemispheres" and opened.metadata["symmetric"]:
        return root  # made from the metadata
    level = find_image(root, opened.metadata, kind, document=root)
    return level if (level / "c").exists() else None


def _root_of(opened: Any) -> Path | None:
    root = getattr(opened, "root_dir", None)
    return None if root is None else Path(root)


def _is_release_3(opened: Any) -> bool:
    return hasattr(type(opened), "template")


def load_mesh(entry: Any) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Read the surface of a region: vertices in mm, and triangles."""
    acronym, path = entry["acronym"], entry["mesh_filename"]
    if path is None:
        raise MissingFileError(f"The atlas has no mesh of {acronym!r}.")
    path = Path(path)
    is_here = path.exists()
    if not is_here and path.suffix:  # in the older layout nothing is downloaded later
        raise MissingFileError(f"{path}: the atlas has no mesh of {acronym!r}.")
    if not is_here and is_offline():
        raise OfflineError(
            f"CONFUSIUS_OFFLINE=1, and the mesh of {acronym!r} was never downloaded. Unset it.",
            missing=[str(path)],
        )
    with brainglobe_errors_named(f"mesh of {acronym}", path=path if is_here else None):
        mesh = entry["mesh"]
        vertices = np.asarray(mesh.points, dtype=np.float64).reshape(-1, 3) * 1e-3
        faces = np.asarray(mesh.cells_dict.get("triangle", np.empty((0, 3))), dtype=np.int32)
    if not len(vertices):
        raise FileFormatError(f"{path}: the mesh is empty.")
    if faces.size and not 0 <= faces.min() <= faces.max() < len(vertices):
        raise FileFormatError(f"{path}: the mesh has triangles of vertices that it lacks.")
    return vertices, faces


def network_errors_named(name: str) -> contextlib.AbstractContextManager[None]:
    """Turn what BrainGlobe raises while it downloads into errors of ours."""
    return brainglobe_errors_named(name, path=None)


@contextlib.contextmanager
def brainglobe_errors_named(name: str, *, path: Path | None) -> Iterator[None]:
    """Turn whatever is raised while BrainGlobe reads a file, or downloads one, into our errors."""
    try:
        yield
    except (ConfusiusDatasetsError, KeyboardInterrupt, GeneratorExit):
        raise
    # All else: the readers below BrainGlobe are written in Rust and C++, a panic of theirs is no
    # `Exception`, and meshio ends the program (`SystemExit`) over a file it does not understand.
    except BaseException as error:
        raise _as_ours(name, path, error) from error


def _as_ours(name: str, path: Path | None, error: BaseException) -> ConfusiusDatasetsError:
    """Choose the error of ours that says what went wrong."""
    text = str(error)
    if path is not None:
        return FileFormatError(
            f"{_blamed(path)}: this part of the atlas cannot be read: {type(error).__name__}: "
            f"{quote_short(text, limit=200)}. {REMEDY}"
        )
    if "not a valid atlas name" in text:
        return RemoteNotFoundError(_unknown(name))
    if "not found in remote" in text:
        return RemoteNotFoundError(
            f"BrainGlobe has the atlas {name!r}, but not in that version. Leave `version` out "
            "to get the latest."
        )
    if "no released version" in text:
        return RemoteNotFoundError(
            f"BrainGlobe has the atlas {name!r}, but no released version of it. Name the version "
            "that you want, such as version='1.0'."
        )
    if isinstance(error, _client_errors()):
        return RemoteConnectionError(
            f"The atlas {name!r} could not be downloaded from BrainGlobe: "
            f"{text.rstrip('.')}. Check the connection, and try again."
        )
    return SourceError(
        f"The atlas {name!r} could not be read after its download from BrainGlobe: "
        f"{type(error).__name__}: {quote_short(text, limit=200)}. Try again later."
    )


def _blamed(path: Path) -> Path:
    """Name the chunk of an image that must be the damaged one, as far as can be told."""
    chunks = [chunk for chunk in sorted((path / "c").rglob("*")) if chunk.is_file()]
    empty = [chunk for chunk in chunks if not chunk.stat().st_size]
    suspects = empty or chunks
    return suspects[0] if len(suspects) == 1 else path


def _client_errors() -> tuple[type[Exception], ...]:
    """Return what BrainGlobe and the clients it downloads with raise."""
    try:
        from aiohttp import ClientError as HttpError
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError:
        return (OSError,)
    return (OSError, HttpError, BotoCoreError, ClientError)


def _import_brainglobe() -> tuple[Any, Any, int]:
    """Import the package, and say which of the two layouts it reads."""
    try:
        import brainglobe_atlasapi
        from brainglobe_atlasapi import core
    except ImportError as error:
        raise MissingDependencyError(
            "brainglobe-atlasapi", extra="atlas", purpose="Opening an atlas"
        ) from error
    return brainglobe_atlasapi, core, 3 if hasattr(core.Atlas, "template") else 2


def _unknown(name: str) -> str:
    """Say that there is no such atlas."""
    return (
        f"BrainGlobe has no atlas {name!r}. Its atlases are listed by "
        "brainglobe_atlasapi.show_atlases()."
    )


def _missing(name: str, folder: BrainGlobeFolder, release: int) -> str:
    """Say that there is no local copy, or that there is one of the other layout."""
    other = folder.find_atlas(name, None, release=5 - release)
    hint = "Unset it to download the atlas."
    if other is not None:
        hint = (
            f"The copy in {other} is in the layout of brainglobe-atlasapi {5 - release}, and "
            f"release {release} is installed. {hint}"
        )
    return f"CONFUSIUS_OFFLINE=1, and the atlas {name!r} is not in {folder.path}. {hint}"
