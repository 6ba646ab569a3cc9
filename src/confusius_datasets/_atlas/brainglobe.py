"""Finding an atlas in the local BrainGlobe folder, checking it, and opening it.

A local copy is opened where it lies, through the class of `brainglobe-atlasapi` that neither asks
the network nor writes: its other class deletes a folder that it finds incomplete. Releases 2 and 3
of that package lay their folders out differently, and each reads its own layout only.
"""

from __future__ import annotations

import configparser
import contextlib
import json
import os
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from confusius_datasets._cache import is_offline
from confusius_datasets._paths import absolute_path
from confusius_datasets.errors import (
    ConfusiusDatasetsError,
    FileFormatError,
    FilterError,
    MissingDependencyError,
    OfflineError,
    RemoteConnectionError,
    RemoteNotFoundError,
    SourceError,
)

__all__ = ["BrainGlobeFolder", "network_errors_named", "open_atlas"]

CONFIG_NAME = "bg_config.conf"
CONFIG_VARIABLE = "BRAINGLOBE_CONFIG_DIR"
DEFAULT_CONFIG = "~/.config/brainglobe"
DEFAULT_FOLDER = "~/.brainglobe"

PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")
"""Names of atlases are also names of folders."""

METADATA_KEYS = ("name", "species", "orientation", "symmetric", "resolution", "shape")


@dataclass(frozen=True, slots=True)
class BrainGlobeFolder:
    """The folder in which BrainGlobe keeps its atlases, as its configuration says."""

    path: Path
    config: Path

    @classmethod
    def find(
        cls,
        brainglobe_dir: str | os.PathLike[str] | None = None,
        config_dir: str | os.PathLike[str] | None = None,
    ) -> BrainGlobeFolder:
        """Find the folder without making anything."""
        given = config_dir or os.environ.get(CONFIG_VARIABLE)
        config = absolute_path(given or DEFAULT_CONFIG) / CONFIG_NAME
        if brainglobe_dir is None:
            parser = configparser.ConfigParser()
            with contextlib.suppress(configparser.Error, OSError):
                parser.read(config)
            brainglobe_dir = parser.get("default_dirs", "brainglobe_dir", fallback=DEFAULT_FOLDER)
        return cls(absolute_path(brainglobe_dir), config)

    def find_atlas(self, name: str, version: str | None, *, release: int) -> Path | None:
        """Find the newest local copy of an atlas in the layout of a release."""
        found: dict[tuple[int, ...], Path] = {}
        if release == 2:
            pattern = re.compile(re.escape(name) + r"_v(\d+(?:\.\d+)*)")
            candidates = ((path.name, path) for path in self.path.glob(f"{name}_v*"))
        else:
            # Release 3 opens a version of three numbers only when it is asked for by name.
            pattern = re.compile(r"(\d+(?:_\d+)?)" if version is None else r"(\d+(?:_\d+)*)")
            manifests = self.path.glob(f"brainglobe-atlasapi/atlases/{name}/*/manifest.json")
            candidates = ((path.parent.name, path) for path in manifests)
        for text, path in candidates:
            if match := pattern.fullmatch(text):
                found[_as_version(match[1])] = path
        if version is not None:
            return found.get(_as_version(version))
        return found[max(found)] if found else None


def open_atlas(
    name: str, folder: BrainGlobeFolder, *, version: str | None, check_latest: bool
) -> Any:
    """Open an atlas, from its local copy if there is one, downloading it otherwise."""
    if not PLAIN_NAME.fullmatch(name):
        raise FilterError(f"{name!r} cannot be the name of an atlas; one is 'allen_mouse_100um'.")
    if version is not None and not re.fullmatch(r"\d+([._]\d+)*", version):
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


def _check_latest(
    api: Any, name: str, folder: BrainGlobeFolder, *, version: str | None, release: int
) -> None:
    """Let BrainGlobe say whether there is a newer version than the local one, if it can."""
    try:
        _ask_brainglobe(api, name, folder, version=version, release=release, check_latest=True)
    except SourceError as error:
        warnings.warn(
            f"Whether there is a newer version of {name} could not be found out; the local copy "
            f"is used. {error}",
            stacklevel=4,
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
    options: dict[str, Any] = {"brainglobe_dir": folder.path, "check_latest": check_latest}
    if folder.config.exists():
        options["config_dir"] = folder.config  # the file, whatever BrainGlobe calls it
    if release == 3:
        options["version"] = version
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


@contextlib.contextmanager
def network_errors_named(name: str) -> Iterator[None]:
    """Turn what BrainGlobe raises while it downloads into errors of ours."""
    try:
        yield
    except ConfusiusDatasetsError:
        raise
    except _client_errors() as error:
        if "not a valid atlas name" in str(error):
            raise RemoteNotFoundError(_unknown(name)) from error
        if "not found in remote" in str(error):
            raise RemoteNotFoundError(
                f"BrainGlobe has the atlas {name!r}, but not in that version. Leave `version` out "
                "to get the latest."
            ) from error
        raise RemoteConnectionError(
            f"The atlas {name!r} could not be downloaded from BrainGlobe: "
            f"{str(error).rstrip('.')}. Check the connection, and try again."
        ) from error


def _client_errors() -> tuple[type[Exception], ...]:
    """Return what BrainGlobe and the clients it downloads with raise."""
    try:
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError:
        return (OSError,)
    return (OSError, BotoCoreError, ClientError)


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


def _open_local(core: Any, path: Path, release: int) -> Any:
    """Open a local copy where it lies; nothing is written, whatever is wrong with it."""
    if release == 2:
        _check_files(path, _read_document(path / "metadata.json"))
    else:
        _check_manifest(path, _read_document(path))
    try:
        return core.Atlas(path)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise FileFormatError(
            f"{path}: this copy of the atlas cannot be opened: {type(error).__name__}: {error}. "
            f"{_REMEDY}"
        ) from error


_REMEDY = "It was left as it is: remove it to have it downloaded again."


def _read_document(path: Path) -> dict[str, Any]:
    """Read the metadata of an atlas, and check that what is needed is there."""
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise FileFormatError(f"{path}: this file of the atlas is missing. {_REMEDY}") from error
    except (OSError, ValueError) as error:
        raise FileFormatError(f"{path}: no readable JSON: {error}. {_REMEDY}") from error
    missing = [
        key for key in METADATA_KEYS if not isinstance(document, dict) or key not in document
    ]
    if missing:
        raise FileFormatError(f"{path}: the metadata lack {', '.join(missing)}. {_REMEDY}")
    metadata: dict[str, Any] = document
    for key in ("shape", "resolution"):
        values = metadata[key]
        if not isinstance(values, list) or len(values) != 3 or not all(map(_is_positive, values)):
            raise FileFormatError(
                f"{path}: '{key}' is {values!r}; three positive numbers were due. {_REMEDY}"
            )
    return metadata


def _is_positive(value: object) -> bool:
    """Say whether a value is a positive number."""
    return isinstance(value, int | float) and value > 0


def _check_files(folder: Path, metadata: dict[str, Any]) -> None:
    """Check that a folder of release 2 is complete."""
    names = ["structures.json", "reference.tiff", "annotation.tiff"]
    if not metadata["symmetric"]:
        names.append("hemispheres.tiff")
    for name in names:
        if not (folder / name).is_file():
            raise FileFormatError(f"{folder / name}: this file of the atlas is missing. {_REMEDY}")


def _check_manifest(manifest: Path, metadata: dict[str, Any]) -> None:
    """Check that what a manifest of release 3 refers to is there."""
    root = manifest.parents[3]
    try:
        annotation = metadata["annotation_set"]["location"].lstrip("/")
        parts = [
            f"{metadata['terminology']['location'].lstrip('/')}/terminology.csv",
            f"{annotation}/annotations_compressed.ome.zarr/zarr.json",
            f"{metadata['annotation_set']['template']['location'].lstrip('/')}"
            "/template.ome.zarr/zarr.json",
        ]
    except (KeyError, TypeError, AttributeError) as error:
        raise FileFormatError(
            f"{manifest}: the manifest does not say where its parts are: {error}. {_REMEDY}"
        ) from error
    if not metadata["symmetric"]:
        parts.append(f"{annotation}/hemispheres.ome.zarr/zarr.json")
    for part in parts:
        if not (root / part).is_file():
            raise FileFormatError(f"{root / part}: this file of the atlas is missing. {_REMEDY}")
        if is_offline() and part.endswith("zarr.json"):
            _require_values((root / part).parent, metadata["resolution"])


def _require_values(store: Path, resolution: list[float]) -> None:
    """Raise when an image lacks its values, which BrainGlobe downloads when first used."""
    try:
        attributes = json.loads((store / "zarr.json").read_bytes())["attributes"]
        levels = attributes["ome"]["multiscales"][0]["datasets"]
        scales = {
            level["path"]: level["coordinateTransformations"][0]["scale"][-3:] for level in levels
        }
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise FileFormatError(f"{store}: no OME-Zarr image: {error!r}. {_REMEDY}") from error
    for path, scale in scales.items():
        near = (abs(mm * 1000 - um) < 1e-3 * um for mm, um in zip(scale, resolution, strict=True))
        if all(near) and not (store / path / "c").exists():
            raise OfflineError(
                f"CONFUSIUS_OFFLINE=1, and the values of {store / path} were never downloaded. "
                "Unset it to download them.",
                missing=[str(store / path)],
            )


def _as_version(text: str) -> tuple[int, ...]:
    """Turn a version into something that sorts as versions do."""
    return tuple(int(part) for part in re.split(r"[._]", text))
