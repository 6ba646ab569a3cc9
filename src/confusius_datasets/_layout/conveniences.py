"""PyBIDS's methods that stand on its queries, where they go wrong or cannot know fUSI.

Everything here asks a layout what any layout can be asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bids.exceptions import BIDSValidationError, NoMatchError
from bids.layout import BIDSLayout
from bids_validator import BIDSValidator

from confusius_datasets._cache import is_here
from confusius_datasets._entities import DESCRIPTION_NAME
from confusius_datasets._layout.associations import intended_for
from confusius_datasets._layout.config import is_fusi_path
from confusius_datasets._layout.pybids import layouts_in_scope
from confusius_datasets._text import count_files
from confusius_datasets.errors import FileFormatError, MissingFileError
from confusius_datasets.errors import NoMatchError as NoFileError

__all__ = ["ConvenientLayout"]

IMAGES = [".nii", ".nii.gz"]

FUNCTIONAL = ({"suffix": "bold", "datatype": "func"}, {"suffix": "pwd", "datatype": "fusi"})
"""The images that `get_tr` looks at where none are asked for: BOLD, or else fUSI."""

FIELDMAPS = {
    "phasediff": ("phasediff", "magnitude1"),
    "phase1": ("phase1", "magnitude1", "phase2", "magnitude2"),
    "epi": ("epi",),
    "fieldmap": ("fieldmap", "magnitude"),
}
"""The images of each kind of field map, the one with the metadata first."""


class ConvenientLayout(BIDSLayout):  # type: ignore[misc]
    """A layout whose conveniences know fUSI, `bids::` addresses and any spelling of a path."""

    def get_tr(self, derivatives: bool = False, **filters: Any) -> float:
        """Return the repetition time of the images asked for, as `bids.BIDSLayout.get_tr`."""
        scope = "all" if derivatives else "raw"
        kinds = [{}] if {"suffix", "datatype"} & set(filters) else FUNCTIONAL
        for kind in kinds:
            with self.quietly():
                images = self.get(**{"extension": IMAGES, "scope": scope, **filters, **kind})
            if images:
                break
        else:
            raise NoMatchError(f"No functional images match {filters!r}, so there is no TR.")
        times: dict[float, str] = {}
        for image in images:
            fields = self.get_metadata(image.path)
            if "RepetitionTime" not in fields:
                raise NoMatchError(f"{image.path}: no sidecar says its RepetitionTime.")
            time = fields["RepetitionTime"]
            if isinstance(time, bool) or not isinstance(time, int | float):
                raise NoMatchError(f"{image.path}: its RepetitionTime, {time!r}, is not a number.")
            times.setdefault(round(float(time), 5), image.filename)
        if len(times) > 1:
            listed = "".join(f"\n  - {time}: {name}" for time, name in sorted(times.items()))
            raise NoMatchError(f"The images that match {filters!r} have several TRs:{listed}")
        return times.popitem()[0]

    def get_nearest(self, path: Any, *args: Any, **kwargs: Any) -> Any:
        """Find the nearest file that matches, as `bids.BIDSLayout.get_nearest`."""
        known = self.path_of(path)
        if not kwargs.get("suffix") and self.get_file(known) is None:
            raise NoFileError(
                f"{path} is not a file of this layout. Give the path of one of its files, or name "
                "the suffix to look for."
            )
        with self.quietly():
            return super().get_nearest(known, *args, **kwargs)

    def get_fieldmap(self, path: Any, return_list: bool = False) -> Any:
        """Find the field maps of an image, as `bids.BIDSLayout.get_fieldmap`."""
        return super().get_fieldmap(self.path_of(path), return_list=return_list)

    def _get_fieldmaps(self, path: str) -> list[dict[str, str]]:
        """Find the field maps of an image; PyBIDS's own knows no `bids::` addresses."""
        subject = self.parse_file_entities(path).get("subject")
        if subject is None:
            return []
        files = self.get(subject=subject, extension=IMAGES)
        maps = [file for file in files if file.entities.get("suffix") in FIELDMAPS]
        return [self._images_of(file) for file in maps if path in self._targets_of(file)]

    def _targets_of(self, file: Any) -> Iterator[str]:
        """Give the paths of the files that a file says it is meant for."""
        field = self.get_metadata(file.path).get("IntendedFor", [])
        top, prefix = self.place_of(file.path)
        relpath = Path(file.path).relative_to(top).as_posix()
        for _, target, kind in intended_for(relpath, field, prefix):
            if kind == "IntendedFor":
                yield str(top / target)

    def _images_of(self, file: Any) -> dict[str, str]:
        """Name the images of a field map as PyBIDS does."""
        suffix = file.entities["suffix"]
        # Only the last one is the suffix: a folder may be called `fieldmap`, too.
        before, _, after = file.path.rpartition(suffix)
        images = {kind: before + kind + after for kind in FIELDMAPS[suffix]}
        magnitude2 = f"{before}magnitude2{after}"
        if suffix == "phasediff" and self.get_file(magnitude2) is not None:
            images["magnitude2"] = magnitude2
        return {**images, "suffix": "phase" if suffix == "phase1" else suffix}

    def get_dataset_description(self, scope: str | list[str] = "self", all_: bool = False) -> Any:
        """Return what datasets say of themselves, as `bids.BIDSLayout.get_dataset_description`."""
        layouts = layouts_in_scope(self, scope)
        found = [layout.description for layout in layouts if layout.description is not None]
        if all_:
            return found
        if not found:
            raise MissingFileError(
                f"{self.root} has no {DESCRIPTION_NAME} that can be read. BIDS wants one in the "
                "root of each dataset."
            )
        return found[0]

    def get_collections(self, level: str, *args: Any, **kwargs: Any) -> Any:
        """Return variables from tables, as `bids.BIDSLayout.get_collections`."""
        try:
            with self.quietly():  # it asks for tables that most datasets do not have
                return super().get_collections(level, *args, **kwargs)
        except FileFormatError:
            raise
        except FileNotFoundError as error:
            raise MissingFileError(
                f"{error.filename}: this file is needed for variables of each {level}, and is not "
                "here. Download the tables before: ds.download(extension='.tsv')."
            ) from error
        except ValueError as error:
            # PyBIDS takes the length of a run from its image, and wraps whatever is wrong there.
            images = [file.path for file in self.get(suffix="bold", extension=IMAGES)]
            missing = [path for path in images if not is_here(Path(path))]
            if not missing:
                raise
            raise MissingFileError(
                f"{missing[0]}: the length of a run comes from its image, which is not here "
                f"({count_files(len(missing))} in all). Download the images before, with "
                "ds.download(suffix='bold'), or pass scan_length=."
            ) from error

    def build_path(
        self,
        source: Any,
        path_patterns: Any = None,
        strict: bool = False,
        scope: str | list[str] = "all",
        validate: bool = True,
        absolute_paths: bool = True,
    ) -> Any:
        """Build the path of a file, as `bids.BIDSLayout.build_path`; fUSI-BIDS is valid, too."""
        if isinstance(source, str | Path):
            source = self.path_of(source)
        built = super().build_path(
            source, path_patterns, strict, scope, validate=False, absolute_paths=False
        )
        paths = built if isinstance(built, list) else [built]
        for path in paths:
            if validate and not (is_fusi_path(path) or BIDSValidator().is_bids(f"/{path}")):
                raise BIDSValidationError(
                    f"{path} is not a valid BIDS path. Check the values: labels have letters and "
                    "digits only. Pass validate=False to build it nevertheless."
                )
        if not absolute_paths:
            return built
        absolute = [(Path(self.root) / path).as_posix() for path in paths]
        return absolute if isinstance(built, list) else absolute[0]
