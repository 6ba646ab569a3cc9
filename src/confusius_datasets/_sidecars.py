"""JSON sidecars: one reader and one way to merge them, for `load` and for the layout alike.

Which sidecars apply to a file, `_entities.applicable_sidecars` says. Nothing here knows PyBIDS or
xarray.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from confusius_datasets._cache import describe_owner, open_regular
from confusius_datasets.errors import DamagedSidecarError, MissingFileError, UnreadableFileError

__all__ = ["merge_sidecars", "read_sidecar"]


def read_sidecar(path: Path) -> dict[str, Any]:
    """Read the one JSON object of a sidecar, in UTF-8 with or without a byte order mark."""
    try:
        # Editors on Windows put the mark there; without "-sig" the parser calls the file damaged.
        with open_regular(path) as file:
            text = file.read().decode("utf-8-sig")
        content = json.loads(text)
        if "\\u" in text:  # half a character, which can be written nowhere
            json.dumps(content, ensure_ascii=False).encode()
    except FileNotFoundError as error:
        raise MissingFileError(f"{path}: this JSON sidecar is missing. Fetch it again.") from error
    except (ValueError, RecursionError) as error:  # ValueError: no JSON, or no UTF-8
        raise DamagedSidecarError(
            f"{path}: this sidecar is not valid JSON: {error}. Correct it, or fetch it again."
        ) from error
    except PermissionError as error:
        raise UnreadableFileError(
            f"{path}: this sidecar cannot be read: {error.strerror}. {describe_owner(path, error)}"
            "Ask for permission to read it."
        ) from error
    except OSError as error:
        raise DamagedSidecarError(f"{path}: this sidecar cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise DamagedSidecarError(
            f"{path}: a sidecar holds one JSON object, and this one holds a "
            f"{type(content).__name__}. Correct it, or fetch it again."
        )
    return content


def merge_sidecars(contents: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Merge the contents of sidecars, the most specific last; a null takes the field away."""
    merged: dict[str, Any] = {}
    for content in contents:
        for field, value in content.items():
            merged.pop(field, None)  # so that the order, too, is that of the last word
            merged[field] = value
    # Nulls go last: one in a near sidecar hides what a farther one says.
    return {field: value for field, value in merged.items() if value is not None}
