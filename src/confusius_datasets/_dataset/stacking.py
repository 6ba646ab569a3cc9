"""Arrays of one acquisition that was cut into files → one array for each group; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from confusius_datasets._io import Matrices
from confusius_datasets._text import did_you_mean, list_some
from confusius_datasets.errors import ArgumentError, FileFormatError

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["stack_arrays"]

CUT_DIMENSIONS = ("pose", "z", "time", "y", "x")
"""Dimensions that files may be cut along, the first that fits is taken."""

OWN_AFFINES = "pose"
"""Entity whose files each have a place of their own, and so affines."""

OF_ONE_FILE = frozenset({"extension"})
"""Entities that say nothing of what is recorded."""


def stack_arrays(
    arrays: Sequence[xr.DataArray], entities: Sequence[Mapping[str, Any]], by: str
) -> list[xr.DataArray]:
    """Stack the arrays whose entities differ in one alone."""
    known = dict.fromkeys(name for each in entities for name in each)
    if arrays and by not in known:
        raise ArgumentError(
            f"stack={by!r}: no file of the query has this entity. {did_you_mean(by, known)}"
            f"They have {list_some(known)}."
        )
    groups: dict[tuple[tuple[str, Any], ...], list[tuple[Any, xr.DataArray]]] = {}
    for array, each in zip(arrays, entities, strict=True):
        rest = {name: each[name] for name in sorted(each) if name not in {by, *OF_ONE_FILE}}
        groups.setdefault(tuple(rest.items()), []).append((each.get(by), array))
    return [_stack(dict(rest), members, by) for rest, members in groups.items()]


def _stack(
    shared: Mapping[str, Any], members: list[tuple[Any, xr.DataArray]], by: str
) -> xr.DataArray:
    """Stack the arrays of one group, in the order of the entity's values."""
    if len(members) == 1:
        return members[0][1]
    import xarray as xr

    members.sort(key=lambda member: _order(member[0]))
    arrays = [array.drop_vars(by, errors="ignore") for _, array in members]
    where = ", ".join(f"{name}={value!r}" for name, value in shared.items())
    _check_alike(arrays, where, by)
    dim = _cut_dimension(arrays)
    if dim is not None:
        return xr.concat(arrays, dim=dim, join="exact", combine_attrs="override")
    labels = xr.Variable((by,), [value for value, _ in members])
    first, *others = (array.attrs for array in arrays)
    if by == OWN_AFFINES and not all(_is_same(first, other, "affines") for other in others):
        first["affines"] = _stack_affines(arrays, where)
    try:
        stacked = xr.concat(arrays, dim=by, join="exact", combine_attrs="override")
    except ValueError as error:
        raise FileFormatError(
            f"The files with {where} cannot be stacked along {by!r}: their coordinates differ in "
            "more than one dimension. Load them one by one."
        ) from error
    return stacked.assign_coords({by: labels})


def _order(value: Any) -> tuple[int, int, str]:
    """Order numbers by their value, before other labels; files without one come first."""
    text = "" if value is None else str(value)
    return (0, int(text), text) if text.isdecimal() else (int(bool(text)), 0, text)


def _check_alike(arrays: Sequence[xr.DataArray], where: str, by: str) -> None:
    """Refuse arrays that are not of one acquisition."""
    first = arrays[0]
    for array in arrays[1:]:
        if array.dims != first.dims:
            raise FileFormatError(
                f"The files with {where} cannot be stacked along {by!r}: they have the dimensions "
                f"{first.dims} and {array.dims}."
            )
        keys = first.attrs.keys() | array.attrs.keys()
        if by == OWN_AFFINES:
            keys -= {"affines"}
        other = [key for key in sorted(keys) if not _is_same(first.attrs, array.attrs, key)]
        if other:
            raise FileFormatError(
                f"The files with {where} cannot be stacked along {by!r}: they differ in "
                f"{list_some(other)}. They are not of one acquisition; load them one by one."
            )


def _stack_affines(arrays: Sequence[xr.DataArray], where: str) -> Matrices:
    """Put the matrices of poses together, as SCAN files have them."""
    import numpy as np

    each = [array.attrs.get("affines", {}) for array in arrays]
    if any(affines.keys() != each[0].keys() for affines in each):
        raise FileFormatError(f"The files with {where} have affines of different names.")
    return Matrices({name: np.stack([affines[name] for affines in each]) for name in each[0]})


def _is_same(first: Mapping[str, Any], other: Mapping[str, Any], key: str) -> bool:
    return key in first and key in other and bool(first[key] == other[key])


def _cut_dimension(arrays: Sequence[xr.DataArray]) -> str | None:
    """Find the dimension along which arrays continue one another, all others being equal."""
    first = arrays[0]
    for dim in CUT_DIMENSIONS:
        if dim not in first.dims or not all(dim in array.coords for array in arrays):
            continue
        others = [other for other in first.dims if other != dim]
        alike = all(array[other].equals(first[other]) for array in arrays[1:] for other in others)
        seen = [value for array in arrays for value in array[dim].values.tolist()]
        if alike and len(set(seen)) == len(seen):
            return dim
    return None
