"""What a format says about itself, and which format a file's name stands for."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from confusius_datasets._io.files import unfinished_download
from confusius_datasets._text import did_you_mean
from confusius_datasets.errors import FileFormatError

if TYPE_CHECKING:
    from confusius_datasets._io.prepared import Prepared

__all__ = ["Format", "extension_of", "find_format"]


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of file that can be loaded."""

    extensions: tuple[str, ...]
    open: Callable[..., Prepared]
    """Reads all of a path but its values; its keyword arguments are the format's options."""

    def takes(self, option: str) -> bool:
        """Say whether an option is one of this format."""
        parameters = inspect.signature(self.open).parameters
        takes_any = any(part.kind is part.VAR_KEYWORD for part in parameters.values())
        return takes_any or option in parameters


def find_format(formats: Iterable[Format], path: Path) -> Format:
    """Find the format that a file's extension stands for."""
    for format_ in formats:
        if extension_of(path.name, format_.extensions):
            return format_
    known = [extension for format_ in formats for extension in format_.extensions]
    given = "".join(path.suffixes[-2:])
    cause = (
        "This is a download that did not finish: download the file again. "
        if unfinished_download(path.name)
        else did_you_mean(given, known)
    )
    raise FileFormatError(
        f"Unsupported file extension in '{path.name}'. {cause}"
        f"Supported extensions are: {', '.join(known)}."
    )


def extension_of(name: str, extensions: Iterable[str]) -> str | None:
    """Say which of some extensions a file's name has, the longest that fits."""
    fitting = [extension for extension in extensions if name.endswith(extension)]
    return max(fitting, key=len, default=None)
