"""`Atlas`: template image, labels and hemispheres on one grid, and the regions they show."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from confusius_datasets._atlas.brainglobe import load_mesh, open_atlas
from confusius_datasets._atlas.folder import BrainGlobeFolder
from confusius_datasets._atlas.images import DIMS, dataset_of
from confusius_datasets._atlas.meshes import Faces, Vertices, keep_side, map_points
from confusius_datasets._atlas.resampling import (
    Interpolation,
    Resampler,
    as_transform,
    check_interpolation,
    empty_volume,
    grid_of,
)
from confusius_datasets._atlas.structures import Regions
from confusius_datasets._io.colors import label_colors
from confusius_datasets._text import list_some, warn_user
from confusius_datasets.errors import FilterError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.colors import BoundaryNorm, Colormap

__all__ = ["Atlas", "Side"]

Side = Literal["both", "left", "right"]

SIDES = {"both": None, "left": 1, "right": 2}
"""The label of each hemisphere."""

SUFFIXES = {"both": "", "left": "_L", "right": "_R"}
"""What is added to an acronym for one hemisphere."""


class Atlas:
    """A brain atlas: a template image, the region of each voxel, and the regions' hierarchy.

    Made by `Atlas.from_brainglobe`; the arguments here are for the class itself.

    Parameters
    ----------
    dataset : xarray.Dataset
        `reference`, `annotation` and `hemispheres` on one grid; name, species, orientation in
        `attrs`.
    structures : mapping
        BrainGlobe's dictionary of regions.
    mesh_to_physical : (4, 4) numpy.ndarray, optional
        From the atlas's own space to that of the arrays, in mm. If not provided, they are the same.
    midline : float, default: 0.0
        Where the left hemisphere begins along the last axis of the atlas's own space, in mm.

    Examples
    --------
    An atlas on the grid of a template::

        template = fetch_template_pepe_mariani_2026()
        atlas = Atlas.from_brainglobe("allen_mouse_100um")
        resampled = atlas.resample_like(template, template.attrs["affines"]["physical_to_sform"])
        resampled.get_masks(["VISp", "CA1"], sides="left")
    """

    def __init__(
        self,
        dataset: xr.Dataset,
        structures: Mapping[Any, Any],
        mesh_to_physical: NDArray[np.float64] | None = None,
        midline: float = 0.0,
    ) -> None:
        self._dataset = dataset
        self._regions = Regions(structures)
        self._mesh_to_physical = np.eye(4) if mesh_to_physical is None else mesh_to_physical
        self._midline = midline

    @classmethod
    def from_brainglobe(
        cls,
        atlas: Any,
        *,
        brainglobe_dir: str | os.PathLike[str] | None = None,
        check_latest: bool = False,
        version: str | None = None,
        config_dir: str | os.PathLike[str] | None = None,
    ) -> Atlas:
        """Open an atlas of BrainGlobe, downloading it if there is no local copy.

        With a local copy nothing is asked of the network, and nothing written.

        Parameters
        ----------
        atlas : str or brainglobe_atlasapi.BrainGlobeAtlas
            Name of an atlas, resolution included, such as `"allen_mouse_100um"`; or one that is
            open already. The other arguments are for a name only: with an open atlas they have no
            effect, and a warning says so.
        brainglobe_dir : str or path-like, optional
            BrainGlobe's folder. If not provided, its configuration says; usually `~/.brainglobe`.
        check_latest : bool, default: False
            Whether to ask BrainGlobe's server if there is a newer version, and to say so. Without
            an answer, the local copy is opened with a warning.
        version : str, optional
            Version of the atlas, such as `"1.2"`. If not provided, the highest local one, or else
            the latest.
        config_dir : str or path-like, optional
            Folder of BrainGlobe's configuration. If not provided, that of the environment variable
            `BRAINGLOBE_CONFIG_DIR`, or else `~/.config/brainglobe`.

        Returns
        -------
        Atlas
            The atlas, in memory.

        Raises
        ------
        TypeError
            If `atlas` is neither a name nor an open atlas.
        FilterError
            If the name or the version cannot be one.
        FileFormatError
            If the local copy is damaged or incomplete; it is left as it is.
        OfflineError
            If something must be downloaded, and `CONFUSIUS_OFFLINE` forbids the network.
        SourceError
            If BrainGlobe has no such atlas, or cannot be reached.
        MissingDependencyError
            If `brainglobe-atlasapi` or matplotlib is not installed.

        Examples
        --------
        ::

            atlas = Atlas.from_brainglobe("allen_mouse_100um")
            atlas.annotation
        """
        if isinstance(atlas, str):
            folder = BrainGlobeFolder.find(brainglobe_dir, config_dir)
            opened = open_atlas(atlas, folder, version=version, check_latest=check_latest)
        else:
            opened = atlas
            options = {
                "brainglobe_dir": brainglobe_dir,
                "check_latest": check_latest,
                "version": version,
                "config_dir": config_dir,
            }
            if given := [name for name, value in options.items() if value]:
                warn_user(f"The atlas is open already: {list_some(given)} has no effect on it.")
        dataset, regions = dataset_of(opened)
        across = dataset["x"]
        midline = across.size / 2 * float(across.attrs["voxdim"])
        return cls(dataset, regions.structures, midline=midline)

    def __repr__(self) -> str:
        return (
            f"Atlas(name={self.name!r}, species={self.species!r}, "
            f"orientation={self.orientation!r}, shape={self.annotation.shape})"
        )

    @property
    def reference(self) -> xr.DataArray:
        """(z, y, x) template image, float32; `z`, `y`, `x` in mm."""
        return self._dataset["reference"]

    @property
    def annotation(self) -> xr.DataArray:
        """(z, y, x) identifier of each voxel's region, int32, 0 outside; colours in `attrs`."""
        return self._dataset["annotation"]

    @property
    def hemispheres(self) -> xr.DataArray:
        """(z, y, x) hemisphere of each voxel, int8: 1 left, 2 right, 0 outside."""
        return self._dataset["hemispheres"]

    @property
    def structures(self) -> Mapping[Any, Any]:
        """BrainGlobe's dictionary of regions, by identifier or acronym; its `tree` is treelib's."""
        return self._regions.structures

    @property
    def lookup(self) -> pd.DataFrame:
        """Table of the regions by `id`: `acronym`, `name`, `rgb_triplet`."""
        return self._regions.table

    @property
    def cmap(self) -> Colormap:
        """Colormap that draws `annotation` in the regions' colours, with `norm`."""
        return label_colors(self.annotation.attrs["rgb_lookup"])[0]

    @property
    def norm(self) -> BoundaryNorm:
        """Normalisation that goes with `cmap`."""
        return label_colors(self.annotation.attrs["rgb_lookup"])[1]

    @property
    def name(self) -> str:
        """Name of the atlas, without resolution."""
        return str(self._dataset.attrs["name"])

    @property
    def species(self) -> str:
        """Whose brain it is."""
        return str(self._dataset.attrs["species"])

    @property
    def orientation(self) -> str:
        """Where the axes of the atlas's own space begin: `asr` is anterior, superior, right."""
        return str(self._dataset.attrs["orientation"])

    @property
    def citation(self) -> str:
        """What to cite for the atlas; empty where it does not say."""
        return str(self._dataset.attrs.get("citation", ""))

    @property
    def resolution(self) -> tuple[float, ...]:
        """Size of a voxel along each axis, in mm."""
        return tuple(abs(step) for step in grid_of(self.annotation, name="annotation").steps())

    def search(
        self, pattern: str, field: Literal["all", "acronym", "name"] = "all"
    ) -> pd.DataFrame:
        """Find regions by a regular expression; upper and lower case are the same.

        Parameters
        ----------
        pattern : str
            The expression.
        field : {"all", "acronym", "name"}, default: "all"
            Whether to look anywhere in acronym and name, or to compare with the whole of one.

        Returns
        -------
        pandas.DataFrame
            Those rows of `lookup`; empty if nothing is found.

        Raises
        ------
        FilterError
            If there is no such field, or `pattern` is not a regular expression.

        Examples
        --------
        ::

            atlas.search("primary visual")
            atlas.search("VISp[0-9]+", field="acronym")
        """
        return self._regions.search(pattern, field)

    def ancestors(self, region: int | str) -> list[Any]:
        """List the regions that a region is part of, from the root down.

        Parameters
        ----------
        region : int or str
            Identifier, or acronym with the case.

        Returns
        -------
        list of treelib.Node
            Each has the `identifier` and a `tag` with acronym and identifier.

        Raises
        ------
        UnknownKeyError
            If the atlas has no such region.

        Examples
        --------
        ::

            [node.tag for node in atlas.ancestors("VISp")]
        """
        path = self._regions.by_id[self._regions.find(region)].path
        tree = self._tree()
        return [tree.get_node(key) for key in path[:-1]]

    def show_tree(self, region: int | str | None = None, **kwargs: Any) -> None:
        """Print the hierarchy of regions.

        Parameters
        ----------
        region : int or str, optional
            Where to begin. If not provided, at the root.
        **kwargs
            Arguments of `treelib.Tree.show`.

        Raises
        ------
        UnknownKeyError
            If the atlas has no such region.

        Examples
        --------
        ::

            atlas.show_tree("VIS")
        """
        if region is not None:
            kwargs["nid"] = self._regions.find(region)
        self._tree().show(**kwargs)

    def get_masks(
        self,
        regions: int | str | Iterable[int | str],
        sides: Side | Sequence[Side] = "both",
    ) -> xr.DataArray:
        """Make a mask of each of some regions, with all that they hold.

        Parameters
        ----------
        regions : int, str, or iterable of them
            Identifiers, or acronyms with the case.
        sides : {"both", "left", "right"} or sequence of them, default: "both"
            Hemisphere, one for all regions or one for each.

        Returns
        -------
        (mask, z, y, x) xarray.DataArray
            The region's identifier where the region is, and 0 elsewhere, int32. The coordinate
            `mask` has the acronyms, with `_L` or `_R` for one hemisphere.

        Raises
        ------
        UnknownKeyError
            If the atlas lacks a region.
        FilterError
            If there are no regions, not as many sides as regions, or an unknown side.

        Examples
        --------
        ::

            masks = atlas.get_masks(["VISp", "CA1"], sides="left")
            masks.sel(mask="CA1_L")
        """
        named = [regions] if isinstance(regions, int | str | np.integer) else regions
        keys = [self._regions.find(name) for name in named]
        each = _sides(sides, len(keys))
        labels, halves = self.annotation.values, self.hemispheres.values
        masks = np.zeros((len(keys), *labels.shape), np.int32)
        for mask, key, side in zip(masks, keys, each, strict=True):
            inside = np.isin(labels, self._regions.with_descendants(key))
            if SIDES[side] is not None:
                inside &= halves == SIDES[side]
            mask[inside] = key
        names = [
            self._regions.by_id[key].acronym + SUFFIXES[side]
            for key, side in zip(keys, each, strict=True)
        ]
        return xr.DataArray(
            masks,
            dims=("mask", *self.annotation.dims),
            coords={"mask": names, **self.annotation.coords},
            name="masks",
            attrs=dict(self.annotation.attrs),
        )

    def get_mesh(self, region: int | str, side: Side = "both") -> tuple[Vertices, Faces]:
        """Return the surface of a region, where the atlas's arrays are.

        Parameters
        ----------
        region : int or str
            Identifier, or acronym with the case.
        side : {"both", "left", "right"}, default: "both"
            Hemisphere. The surface is left open where it is cut.

        Returns
        -------
        vertices : (n, 3) numpy.ndarray
            Points in the order of the dimensions, in mm, float64.
        faces : (m, 3) numpy.ndarray
            The three vertices of each triangle, int32.

        Raises
        ------
        UnknownKeyError
            If the atlas has no such region.
        FilterError
            If there is no such side.
        MissingFileError
            If the region has no surface.
        FileFormatError
            If its file is damaged.

        Examples
        --------
        ::

            vertices, faces = atlas.get_mesh("CA1", side="left")
        """
        side = _sides(side, 1)[0]
        vertices, faces = load_mesh(self.structures[self._regions.find(region)])
        if side != "both":
            vertices, faces = keep_side(vertices, faces, side, self._midline)
        return map_points(vertices, self._mesh_to_physical), faces

    def to_dataset(self) -> xr.Dataset:
        """Return the atlas as one dataset, in the form that the ConfUSIus package (0.6) uses.

        Returns
        -------
        xarray.Dataset
            `reference`, `annotation` and `hemispheres`. In `attrs`: `name`, `species`,
            `orientation`, `citation`; `structures`, BrainGlobe's dictionary of regions; and
            `affines`, where `physical_to_base` leads from a point of the arrays to one of the
            atlas's own space, as `(z, y, x, 1)` in mm. `hemispheres` says in its `attrs` which
            label is `left` and which is `right`.

        Examples
        --------
        ::

            atlas.to_dataset()["annotation"]
        """
        to_base = np.linalg.inv(self._mesh_to_physical)
        dataset = self._dataset.assign_attrs(
            structures=self.structures, affines={"physical_to_base": to_base}
        )
        for array in dataset.data_vars.values():
            array.attrs = dict(array.attrs)  # xarray shares it with the array it came from
        dataset["hemispheres"].attrs.update(left=SIDES["left"], right=SIDES["right"])
        return dataset

    def resample_like(
        self,
        reference: xr.DataArray,
        transform: ArrayLike,
        *,
        reference_interpolation: Interpolation = "linear",
    ) -> Atlas:
        """Resample the atlas at the voxels of another volume.

        Labels are those of the nearest voxel. What lies outside the atlas is 0.

        Parameters
        ----------
        reference : (z, y, x) xarray.DataArray
            Volume whose grid is wanted, its coordinates in mm; its values are not used.
        transform : (4, 4) array-like
            From a point of `reference` to one of the atlas, as `(z, y, x, 1)` in mm. For a template
            whose sform leads into the atlas's space,
            `template.attrs["affines"]["physical_to_sform"]`.
        reference_interpolation : {"linear", "nearest", "bspline"}, default: "linear"
            How the template image is interpolated.

        Returns
        -------
        Atlas
            One on that grid, with its coordinates and its `affines`; other attributes of
            `reference` are not copied.

        Raises
        ------
        TypeError
            If `reference` is not a DataArray.
        ArgumentError
            If `reference` is not a volume in mm, or `transform` is not affine and invertible.

        Examples
        --------
        ::

            atlas.resample_like(template, template.attrs["affines"]["physical_to_sform"])
        """
        how = check_interpolation(reference_interpolation)
        wanted, matrix = grid_of(reference, name="reference"), as_transform(transform)
        resampler = Resampler(grid_of(self.annotation, name="atlas"), wanted, matrix)
        annotation, hemispheres = resampler.nearest(self.annotation.values, self.hemispheres.values)
        arrays = {
            "reference": resampler.interpolate(self.reference.values, how),
            "annotation": annotation,
            "hemispheres": hemispheres,
        }
        dataset = xr.Dataset(coords=reference.coords, attrs=dict(self._dataset.attrs))
        for name, values in arrays.items():
            attrs = dict(self._dataset[name].attrs)
            attrs.pop("affines", None)
            if "affines" in reference.attrs:
                attrs["affines"] = copy.deepcopy(reference.attrs["affines"])
            dataset[name] = (reference.dims, values, attrs)
        mesh_to_physical = np.linalg.inv(matrix) @ self._mesh_to_physical
        return type(self)(dataset, self.structures, mesh_to_physical, self._midline)

    def resample(
        self,
        transform: ArrayLike,
        *,
        shape: Sequence[int],
        spacing: Sequence[float],
        origin: Sequence[float],
        dims: Sequence[str] = DIMS,
        reference_interpolation: Interpolation = "linear",
    ) -> Atlas:
        """Resample the atlas on a grid that is given by numbers.

        The same as `resample_like` with a volume on that grid.

        Parameters
        ----------
        transform : (4, 4) array-like
            From a point of the grid to one of the atlas, both as `(z, y, x, 1)` in mm, or in the
            order of `dims`.
        shape : sequence of int
            Number of voxels along each of `dims`.
        spacing : sequence of float
            Distance from a voxel to the next along each of `dims`, in mm.
        origin : sequence of float
            Where the centre of the first voxel is along each of `dims`, in mm.
        dims : sequence of str, default: ("z", "y", "x")
            Names of the dimensions, in their order.
        reference_interpolation : {"linear", "nearest", "bspline"}, default: "linear"
            How the template image is interpolated.

        Returns
        -------
        Atlas
            One on that grid.

        Raises
        ------
        ArgumentError
            If a number of the grid cannot be used, or `transform` is not affine and invertible.

        Examples
        --------
        Every second voxel of the atlas along each axis::

            atlas.resample(
                np.eye(4), shape=(66, 40, 57), spacing=(0.2, 0.2, 0.2), origin=(0.0, 0.0, 0.0)
            )
        """
        grid = empty_volume(shape, spacing, origin, dims)
        return self.resample_like(grid, transform, reference_interpolation=reference_interpolation)

    def _tree(self) -> Any:
        """Return treelib's tree of the regions."""
        return getattr(self.structures, "tree")  # noqa: B009 - no mapping of typing's has one


def _sides(sides: str | Sequence[str], count: int) -> list[Side]:
    """Return a side for each of some regions."""
    if not count:
        raise FilterError("'regions' is empty; name at least one region.")
    each = [sides] * count if isinstance(sides, str) else list(sides)
    if len(each) != count:
        raise FilterError(
            f"'sides' has {len(each)} elements but 'regions' has {count} elements; they must have "
            "the same length."
        )
    if invalid := [side for side in each if side not in SIDES]:
        raise FilterError(
            f"Invalid side value(s): {invalid}. Each element must be one of {list(SIDES)}."
        )
    return each  # type: ignore[return-value]
