"""Pictures of an atlas over a template: what is drawn where, and that it is drawn at all."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from confusius_datasets import Atlas
from confusius_datasets._demo.phantom import phantom_atlas, phantom_template
from confusius_datasets._plot import draw_template_with_atlas, plot_template_with_atlas
from confusius_datasets.errors import (
    ArgumentError,
    MissingDependencyError,
    UnknownKeyError,
)


@pytest.fixture(scope="module")
def template() -> xr.DataArray:
    """Make the phantom's template."""
    return phantom_template()


@pytest.fixture(scope="module")
def atlas(template: xr.DataArray) -> Atlas:
    """Put the phantom's atlas on its grid."""
    return phantom_atlas().resample_like(template, template.attrs["affines"]["physical_to_sform"])


def panels_of(figure: Any) -> list[Any]:
    """Return the visible panels of a figure, without the colour bar."""
    return [axes for axes in figure.axes if axes.get_visible()]


def outline(panel: Any) -> np.ndarray[Any, Any]:
    """Return the points of a panel's outlines."""
    sets = [found for found in panel.collections if hasattr(found, "levels")]
    return np.vstack([path.vertices for found in sets for path in found.get_paths()])


def test_picture_has_six_slices_in_mm(template: xr.DataArray, atlas: Atlas) -> None:
    """Depth points down, axes are in mm; each slice says where it is, and which side is which."""
    figure = draw_template_with_atlas(template, atlas)
    panels = panels_of(figure)

    assert len(panels) == 6
    assert panels[0].get_title() == "z = 2.20 mm"
    assert {panel.get_xlabel() for panel in panels} == {"", "x (mm)"}
    assert {panel.get_ylabel() for panel in panels} == {"", "y (mm)"}
    for panel in panels:
        low, high = panel.get_ylim()
        assert low > high
        sides = {text.get_text(): text.get_position()[0] for text in panel.texts}
        assert sides["R"] < sides["L"]
    assert figure.get_suptitle() == "phantom_template, with the regions of phantom_mouse"
    (bar,) = panels[2].child_axes
    assert bar.get_ylabel() == "template (arb. units)"


def test_panels_end_where_the_image_does(template: xr.DataArray, atlas: Atlas) -> None:
    """Outlines leave a panel as large as its image, of which millimetres are equally long."""
    for panel in panels_of(draw_template_with_atlas(template, atlas)):
        np.testing.assert_allclose(sorted(panel.get_xlim()), [-0.05, 10.15], atol=1e-9)
        np.testing.assert_allclose(panel.get_ylim(), [8.35, -0.05], atol=1e-9)
        assert panel.get_aspect() == 1


@pytest.mark.parametrize("count", [1, 2, 4, 5])
def test_lowest_panel_of_each_column_has_its_label(
    count: int, template: xr.DataArray, atlas: Atlas
) -> None:
    """Also where the last row is not full."""
    positions = np.linspace(3, 9, count).tolist()

    panels = panels_of(draw_template_with_atlas(template, atlas, positions=positions))

    assert len(panels) == count
    columns = min(3, count)
    labels = [panel.get_xlabel() for panel in panels]
    assert labels == [""] * (count - columns) + ["x (mm)"] * columns


def test_outlines_lie_around_the_labels(template: xr.DataArray, atlas: Atlas) -> None:
    """An outline passes half a voxel beside the outermost voxels of the region."""
    (panel,) = panels_of(
        draw_template_with_atlas(template, atlas, regions=["CA1"], positions=[8.0])
    )
    mask = (atlas.annotation == 382).sel(z=8.0, method="nearest")
    x = mask.x.values[mask.any("y")]
    y = mask.y.values[mask.any("x")]

    points = outline(panel)

    np.testing.assert_allclose(
        [points[:, 0].min(), points[:, 0].max(), points[:, 1].min(), points[:, 1].max()],
        [x.min() - 0.05, x.max() + 0.05, y.min() - 0.05, y.max() + 0.05],
        atol=1e-6,
    )


@pytest.mark.parametrize("mirror", ["coordinates", "transform"])
def test_sides_follow_a_mirrored_grid(mirror: str, template: xr.DataArray) -> None:
    """Letters stand where the hemispheres are drawn, also when x runs from left to right."""
    to_atlas = template.attrs["affines"]["physical_to_sform"]
    target, matrix = template.isel(x=slice(None, None, -1)), to_atlas
    if mirror == "transform":
        flip = np.diag([1.0, 1.0, -1.0, 1.0])
        flip[2, 3] = float(template.x[-1])
        target, matrix = template, to_atlas @ flip
    resampled = phantom_atlas().resample_like(target, matrix)

    (panel,) = panels_of(draw_template_with_atlas(target, resampled, positions=[6.0]))

    left = (resampled.hemispheres == 1).sel(z=6.0, method="nearest").any("y")
    place = panel.transData.transform((float(left.x[left].mean()), 4.0))
    drawn = panel.transAxes.inverted().transform(place)[0]
    letter = {text.get_text(): text.get_position()[0] for text in panel.texts}["L"]
    assert (letter > 0.5) == (drawn > 0.5)


def test_legend_names_what_is_outlined(template: xr.DataArray, atlas: Atlas) -> None:
    """Regions are called by their acronyms, in their colours, made light enough for black."""
    figure = draw_template_with_atlas(template, atlas, regions=["Isocortex", "TH"])
    (legend,) = figure.legends

    assert [text.get_text() for text in legend.get_texts()] == ["Isocortex", "TH"]
    assert legend.get_title().get_text() == "phantom_mouse"
    dark = draw_template_with_atlas(template, atlas, regions=["VISp"]).legends[0]
    assert sum(dark.get_lines()[0].get_color()) > 1.5


def test_picture_is_saved(template: xr.DataArray, atlas: Atlas, tmp_path: Path) -> None:
    """The folder is made, the kind of picture is that of the extension."""
    path = plot_template_with_atlas(template, atlas, tmp_path / "new" / "a.png", positions=[6.0])

    assert path == tmp_path / "new" / "a.png"
    assert path.read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("name", ["a.xyz", "a", "folder"])
def test_path_that_is_no_picture_is_refused(
    name: str, template: xr.DataArray, atlas: Atlas, tmp_path: Path
) -> None:
    """A folder, or an extension that no picture has: nothing is written under another name."""
    (tmp_path / "folder").mkdir()
    message = "is a folder: name the picture" if name == "folder" else "is not that of a picture"

    with pytest.raises(ArgumentError, match=message):
        plot_template_with_atlas(template, atlas, tmp_path / name)

    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_template_without_labels_is_drawn(template: xr.DataArray, atlas: Atlas) -> None:
    """A slice outside the brain has no outlines, and that is no error."""
    away = atlas.resample_like(template, np.array(np.eye(4)) + np.eye(4, k=3) * 900)

    (panel,) = panels_of(draw_template_with_atlas(template, away))

    assert panel.texts[:] == []


def test_what_does_not_fit_is_refused(template: xr.DataArray, atlas: Atlas) -> None:
    """Atlas and template must be on one grid, and regions must exist."""
    with pytest.raises(ArgumentError, match=r"call atlas\.resample_like\(template, …\) first"):
        draw_template_with_atlas(template, phantom_atlas())
    with pytest.raises(ArgumentError, match="must have the dims"):
        draw_template_with_atlas(template.transpose("x", "y", "z"), atlas)
    with pytest.raises(UnknownKeyError, match="Acronym 'nope' not found"):
        draw_template_with_atlas(template, atlas, regions=["nope"])
    with pytest.raises(ArgumentError, match="'positions' is empty"):
        draw_template_with_atlas(template, atlas, positions=[])


def test_missing_package_names_the_extra(
    template: xr.DataArray, atlas: Atlas, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without matplotlib one is told what to install."""
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)

    with pytest.raises(MissingDependencyError, match=r"confusius-datasets\[plot\]"):
        draw_template_with_atlas(template, atlas)


def test_phantom_needs_no_brainglobe(atlas: Atlas, capsys: pytest.CaptureFixture[str]) -> None:
    """The made-up atlas is an atlas: searched, masked, shown as a tree."""
    whole = phantom_atlas()

    assert whole.resolution == pytest.approx((0.1, 0.1, 0.1))
    assert whole.search("primary", "all")["acronym"].tolist() == ["VISp", "SSp", "MOp"]
    assert int((whole.get_masks("HIP") != 0).sum()) == int((whole.annotation == 382).sum()) > 0
    assert whole.structures["TH"]["id"] == 549
    with pytest.raises(KeyError):
        whole.structures["nope"]
    assert [node.tag for node in whole.ancestors("TH")] == ["root (997)", "grey (8)"]
    whole.show_tree("Isocortex")
    assert capsys.readouterr().out.startswith("Isocortex (315)")
