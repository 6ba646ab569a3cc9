"""Finding an atlas in BrainGlobe's folder on this machine, without making or asking anything."""

from __future__ import annotations

import configparser
import os
import re
from dataclasses import dataclass
from pathlib import Path

from confusius_datasets._paths import absolute_path
from confusius_datasets._text import quote_short
from confusius_datasets.errors import FileFormatError

__all__ = ["BrainGlobeFolder"]

CONFIG_NAME = "bg_config.conf"
CONFIG_VARIABLE = "BRAINGLOBE_CONFIG_DIR"
DEFAULT_CONFIG = "~/.config/brainglobe"
DEFAULT_FOLDER = "~/.brainglobe"


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
            parser = _read_config(config)
            brainglobe_dir = parser.get("default_dirs", "brainglobe_dir", fallback=DEFAULT_FOLDER)
        return cls(absolute_path(brainglobe_dir), config)

    def download_folder(self) -> Path:
        """Return where BrainGlobe unpacks what it downloads, as its configuration says."""
        found = _read_config(self.config).get("default_dirs", "interm_download_dir", fallback="")
        return absolute_path(found) if found else self.path

    def find_atlas(self, name: str, version: str | None, *, release: int) -> Path | None:
        """Find the newest local copy of an atlas in the layout of a release."""
        found: dict[tuple[int, ...], Path] = {}
        if release == 2:
            pattern = re.compile(re.escape(name) + r"_v([0-9]+(?:\.[0-9]+)*)")
            candidates = ((path.name, path) for path in self.path.glob(f"{name}_v*"))
        else:
            # Release 3 opens a version of three numbers only when it is asked for by name.
            pattern = re.compile(r"([0-9]+(?:_[0-9]+)?)" if version is None else r"([0-9_]+)")
            manifests = self.path.glob(f"brainglobe-atlasapi/atlases/{name}/*/manifest.json")
            candidates = ((path.parent.name, path) for path in manifests)
        for text, path in candidates:
            match = pattern.fullmatch(text)
            if match and (numbers := _as_version(match[1])):
                found[numbers] = path
        if version is not None:
            return found.get(_as_version(version))
        return found[max(found)] if found else None


def _read_config(path: Path) -> configparser.ConfigParser:
    """Read BrainGlobe's configuration; nothing where there is none."""
    # Without interpolation: a `%` in a folder's name is only a `%`.
    parser = configparser.ConfigParser(interpolation=None)
    try:
        if path.exists():
            parser.read_string(path.read_text(encoding="utf-8"), source=str(path))
    except (configparser.Error, OSError, UnicodeDecodeError) as error:
        reason = quote_short(" ".join(str(error).split()), limit=200)
        raise FileFormatError(
            f"{path}: this configuration of BrainGlobe cannot be read: {reason}. "
            "Correct the file, or delete it: BrainGlobe makes a new one."
        ) from error
    return parser


def _as_version(text: str) -> tuple[int, ...]:
    """Turn a version into something that sorts as versions do; empty if it is not one."""
    parts = re.split(r"[._]", text)
    # Python refuses to read numbers of thousands of digits.
    return tuple(map(int, parts)) if all(0 < len(part) < 20 for part in parts) else ()
