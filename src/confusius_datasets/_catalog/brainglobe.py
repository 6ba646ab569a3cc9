"""BrainGlobe's atlases, each by its name."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from confusius_datasets._fetch import fetcher

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["fetch_brainglobe_atlas"]


@fetcher
def fetch_brainglobe_atlas(
    atlas_name: str,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    check_latest: bool = False,
) -> xr.Dataset:
    """Fetch an atlas of BrainGlobe and load it as one dataset.

    An atlas that is on disk is opened without a request, and nothing in its folder is changed. For
    masks, surfaces and resampling, open it with `Atlas.from_brainglobe` instead.

    Parameters
    ----------
    atlas_name : str
        Name of the atlas, resolution included, such as `"allen_mouse_100um"`.
    data_dir : str or path-like, optional
        BrainGlobe's folder, which is not the folder of the other datasets. If not provided, its
        configuration says; usually `~/.brainglobe`.
    check_latest : bool, default: False
        Whether to ask BrainGlobe's server if there is a newer version, and to say so. Without an
        answer, the local copy is opened with a warning.

    Returns
    -------
    (z, y, x) xarray.Dataset
        `reference`, the template image, float32; `annotation`, the identifier of each voxel's
        region, int32; `hemispheres`, int8, 1 on the left and 2 on the right; `z`, `y`, `x` in mm.
        Name, species, orientation, citation, `structures` and `affines` are in `attrs`.

    Raises
    ------
    TypeError
        If `atlas_name` is not a text.
    FilterError
        If it cannot be the name of an atlas.
    FileFormatError
        If the local copy is damaged or incomplete; it is left as it is.
    OfflineError
        If something must be downloaded, and `CONFUSIUS_OFFLINE` forbids the network.
    SourceError
        If BrainGlobe has no such atlas, or cannot be reached.
    MissingDependencyError
        If `brainglobe-atlasapi` or matplotlib is not installed.

    References
    ----------
    .. [1] Claudi, F., Petrucco, L., Tyson, A. L., Branco, T., Margrie, T. W., & Portugues, R.
       (2020). BrainGlobe Atlas API: a common interface for neuroanatomical atlases. Journal of
       Open Source Software, 5(54), 2668. https://doi.org/10.21105/joss.02668
    .. [2] The atlas's own paper and licence: `attrs["citation"]`, and https://brainglobe.info.

    Examples
    --------
    ::

        atlas = fetch_brainglobe_atlas("allen_mouse_100um")
        atlas["annotation"].sel(z=6.0, method="nearest")
    """
    from confusius_datasets._atlas import Atlas

    if not isinstance(atlas_name, str):
        raise TypeError(f"'atlas_name' must be a text, not {type(atlas_name).__name__}.")
    atlas = Atlas.from_brainglobe(atlas_name, brainglobe_dir=data_dir, check_latest=check_latest)
    return atlas.to_dataset()
