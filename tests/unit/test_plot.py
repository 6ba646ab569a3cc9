"""Pictures of slices, with an atlas over them: what is drawn where."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

from confusius_datasets import Atlas
from confusius_datasets._demo.phantom import phantom_atlas, phantom_template
from confusius_datasets._plot import (
    draw_template_with_atlas,
    plot_slice,
    plot_template_with_atlas,
)
from confusius_datasets.errors import (
    ArgumentError,
    MissingDependencyError,
    UnknownKeyError,
)
from marks import slow

mpl.use("Agg")  # no window, whatever the machine has


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


@pytest.mark.parametrize("count", [1, slow(2), slow(4), 5])
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


@pytest.mark.slow
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
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)

    with pytest.raises(MissingDependencyError, match=r"pip install matplotlib .*\[plot\]"):
        plot_slice(template)
    with pytest.raises(MissingDependencyError, match=r"pip install matplotlib .*\[plot\]"):
        draw_template_with_atlas(template, atlas)


@pytest.fixture(autouse=True)
def _no_figure_stays_open() -> Iterator[None]:
    """Close what `plot_slice` opens."""
    yield
    plt.close("all")


def image_of(panel: Any) -> Any:
    """Return the image of a panel."""
    return next(found for found in panel.collections if hasattr(found, "get_coordinates"))


def bar_of(panel: Any) -> Any:
    """Return the colour bar's axes."""
    (bar,) = panel.child_axes
    return bar


def test_slice_is_drawn_in_mm_with_depth_downwards(template: xr.DataArray) -> None:
    """One length for a millimetre along both axes, edges half a voxel beyond the centres."""
    panel = plot_slice(template, z=6.05)

    assert panel.get_title() == "z = 6.00 mm"
    assert (panel.get_xlabel(), panel.get_ylabel()) == ("x (mm)", "y (mm)")
    np.testing.assert_allclose(panel.get_xlim(), [-0.05, 10.15], atol=1e-9)
    np.testing.assert_allclose(panel.get_ylim(), [8.35, -0.05], atol=1e-9)
    assert panel.get_aspect() == 1
    image = image_of(panel)
    np.testing.assert_allclose(image.get_array(), template.sel(z=6.0, method="nearest"))
    assert image.get_cmap().name == "gray"
    assert bar_of(panel).get_ylabel() == "phantom_template (arb. units)"
    values = template.sel(z=6.0, method="nearest").values
    np.testing.assert_allclose(image.get_clim(), np.percentile(values, [1.0, 99.7]))


@pytest.mark.parametrize(
    ("positions", "title", "across", "down"),
    [
        ({}, "z = 6.40 mm", "x (mm)", "y (mm)"),
        ({"x": 3.0}, "x = 3.00 mm", "z (mm)", "y (mm)"),
        ({"y": 2.0}, "y = 2.00 mm", "x (mm)", "z (mm)"),
    ],
)
def test_slice_may_be_across_any_dimension(
    positions: dict[str, float], title: str, across: str, down: str, template: xr.DataArray
) -> None:
    """The middle of `z` if nothing is said; depth runs down wherever it is in the slice."""
    panel = plot_slice(template.transpose("x", "z", "y"), **positions)

    assert panel.get_title() == title
    assert (panel.get_xlabel(), panel.get_ylabel()) == (across, down)
    chosen = template.sel(positions or {"z": 6.4}, method="nearest")
    expected = chosen.transpose(down[0], across[0])
    np.testing.assert_allclose(image_of(panel).get_array(), expected)


@pytest.mark.parametrize("positions", [{}, {"x": 3.0}, {"y": 2.0}])
@pytest.mark.parametrize("height", [1, slow(2), slow(64)])
def test_label_of_the_colour_bar_stays_in_the_picture(
    positions: dict[str, float], height: int, template: xr.DataArray
) -> None:
    """A long label has more lines where the slice is low, and is read in full."""
    named = template.assign_attrs(long_name="Power Doppler intensity of the baseline")
    panel = plot_slice(named.isel(z=slice(32, 32 + height)), **positions)
    panel.figure.canvas.draw()

    label = bar_of(panel).yaxis.label
    shown, whole = label.get_window_extent(), panel.figure.bbox
    assert label.get_text().split() == [*named.long_name.split(), "(arb.", "units)"]
    assert shown.x1 <= whole.x1
    assert whole.y0 <= shown.y0 and shown.y1 <= whole.y1


def recording(template: xr.DataArray) -> xr.DataArray:
    """Make a recording of two poses and three frames, with values of both signs."""
    times = xr.DataArray([0.0, 0.5, 1.0], dims="time", attrs={"units": "s"})
    frames = (template - 300.0) * xr.DataArray([1.0, 2.0, 6.0], dims="time")
    moved = frames.assign_coords(time=times).expand_dims(pose=[4, 7])
    return moved.rename("change").assign_attrs(long_name="signal change", units="%")


def test_recording_is_averaged_over_time_unless_a_time_is_named(template: xr.DataArray) -> None:
    """The title says what was done; values of both signs are drawn around 0."""
    values = recording(template)

    mean = plot_slice(values, z=6.0)
    frame = plot_slice(values, z=6.0, time=0.6, pose=7)

    one = template.sel(z=6.0, method="nearest") - 300.0
    assert mean.get_title() == "z = 6.00 mm, pose = 4, mean of 3 frames"
    assert frame.get_title() == "z = 6.00 mm, time = 0.50 s, pose = 7"
    np.testing.assert_allclose(image_of(mean).get_array(), one * 3, rtol=1e-5)
    np.testing.assert_allclose(image_of(frame).get_array(), one * 2, rtol=1e-5)
    low, high = image_of(frame).get_clim()
    assert low == -high
    assert image_of(frame).get_cmap().name == "RdBu_r"
    assert bar_of(frame).get_ylabel() == "signal change (%)"


def test_only_the_slice_is_read_and_once(template: xr.DataArray) -> None:
    """A recording larger than memory can be drawn."""
    chunked = recording(template).chunk({"z": 1})
    computed: list[int] = []
    watched = chunked.copy(
        data=chunked.data.map_blocks(lambda block: computed.append(block.size) or block)
    )
    computed.clear()

    plot_slice(watched, z=6.0, pose=4)

    assert sum(computed) == chunked.size / chunked.sizes["z"]


def test_decibels_are_relative_to_the_greatest_value(template: xr.DataArray) -> None:
    """0 dB is the brightest voxel; voxels without power are the darkest, not holes."""
    power = template.isel(z=[30]).copy()
    power[0, 0, :5] = 0

    panel = plot_slice(power.assign_attrs(long_name="power Doppler (a.u.)"), decibels=True)

    values = power[0].values.astype(float)
    shown = np.ma.filled(image_of(panel).get_array(), np.nan)
    bright = values > 0
    np.testing.assert_allclose(shown[bright], 10 * np.log10(values[bright] / values.max()))
    assert (shown[~bright] == -300).all()
    low, high = image_of(panel).get_clim()
    assert (low, high) == (max(np.percentile(shown, 1.0), -60), 0)
    assert bar_of(panel).get_ylabel() == "power Doppler (dB)"


def test_colours_may_be_chosen(template: xr.DataArray) -> None:
    """Colormap and range are the user's where given, and the picture goes where they say."""
    figure, panels = plt.subplots(1, 2)

    drawn = plot_slice(template, axes=panels[1], cmap="magma", vmin=0, vmax=500)

    assert drawn is panels[1]
    assert image_of(drawn).get_clim() == (0, 500)
    assert image_of(drawn).get_cmap().name == "magma"
    assert plt.get_fignums() == [figure.number]


@pytest.mark.parametrize("value", [0.0, 3.0, np.nan])
def test_constant_slice_is_drawn(value: float, template: xr.DataArray) -> None:
    """Also one without any value."""
    panel = plot_slice(xr.full_like(template, value))

    low, high = image_of(panel).get_clim()
    assert low < high
    panel.figure.canvas.draw()


def test_slice_of_one_voxel_is_as_wide_as_its_coordinate_says(template: xr.DataArray) -> None:
    """An axis of length 1 has no neighbour to tell its step by."""
    panel = plot_slice(template.isel(z=30, x=slice(50, 51)))

    np.testing.assert_allclose(panel.get_xlim(), [4.95, 5.05])
    assert panel.get_title() == "z = 6.00 mm"


def test_annotation_is_drawn_in_its_own_colours(atlas: Atlas) -> None:
    """Without a colour bar, since identifiers have no order."""
    panel = plot_slice(atlas.annotation, z=8.0)

    image = image_of(panel)
    colors = image.to_rgba(np.array([382]))
    np.testing.assert_allclose(colors[0] * 255, [126, 208, 75, 255], atol=1)
    assert panel.child_axes == []


@pytest.mark.parametrize("form", ["volume", "slice", "recording"])
def test_regions_of_an_atlas_are_outlined(form: str, template: xr.DataArray, atlas: Atlas) -> None:
    """Half a voxel beside their outermost voxels, named in a legend, with the sides."""
    given = {
        "volume": template,
        "slice": template.sel(z=8.0, method="nearest"),
        "recording": recording(template),
    }[form]

    positions = {} if form == "slice" else {"z": 8.0}
    panel = plot_slice(given, atlas=atlas, regions=["CA1"], **positions)

    mask = (atlas.annotation == 382).sel(z=8.0, method="nearest")
    x, y = mask.x.values[mask.any("y")], mask.y.values[mask.any("x")]
    points = outline(panel)
    np.testing.assert_allclose(
        [points[:, 0].min(), points[:, 0].max(), points[:, 1].min(), points[:, 1].max()],
        [x.min() - 0.05, x.max() + 0.05, y.min() - 0.05, y.max() + 0.05],
        atol=1e-6,
    )
    assert [text.get_text() for text in panel.get_legend().get_texts()] == ["CA1"]
    assert {text.get_text() for text in panel.texts} == {"L", "R"}


def test_legend_stands_beside_the_colour_bar(template: xr.DataArray, atlas: Atlas) -> None:
    """Nothing that is written covers something else, or leaves the figure."""
    panel = plot_slice(template, z=8.0, atlas=atlas)
    panel.figure.canvas.draw()
    whole = panel.figure.bbox

    bar = bar_of(panel).get_tightbbox()
    legend = panel.get_legend().get_window_extent()
    image = panel.get_tightbbox()

    assert bar.x1 <= legend.x0
    assert whole.x0 <= image.x0
    assert legend.x1 <= whole.x1
    assert whole.y0 <= image.y0
    assert image.y1 <= whole.y1


SLICE_FAULTS: dict[str, tuple[Any, dict[str, Any], str]] = {
    "complex": (lambda array: array + 1j, {}, "draw abs(array)"),
    "words": (lambda array: array.astype(str), {}, "expected real numbers"),
    "empty": (lambda array: array[:0], {}, "cannot be drawn"),
    "flat": (lambda array: array[0, 0], {}, "A slice needs two of the dimensions z, y, x"),
    "twice": (lambda array: array, {"z": 6.0, "x": 1.0}, "there remain ('y',)"),
    "unknown": (lambda array: array, {"tim": 1}, "has no dimension 'tim'"),
    "misspelt": (recording, {"tiem": 1}, "Did you mean 'time'?"),
    "outside": (lambda array: array, {"z": 99.0}, "lies outside the array, which goes from 0 to"),
    "outside one": (lambda array: array[:1], {"z": 1.0}, "z=1.0 lies outside the array"),
    "no number": (lambda array: array, {"z": "mid"}, "expected a number along a coordinate"),
    "not finite": (lambda array: array, {"z": np.nan}, "z=nan lies outside"),
    "no power": (lambda array: array * 0, {"decibels": True}, "no positive values"),
    "no atlas": (lambda array: array, {"regions": ["CA1"]}, "give `atlas`, too"),
}


@pytest.mark.parametrize("fault", SLICE_FAULTS)
def test_slice_that_cannot_be_drawn_is_refused(fault: str, template: xr.DataArray) -> None:
    """Before a figure is made."""
    change, options, message = SLICE_FAULTS[fault]

    with pytest.raises(ArgumentError) as caught:
        plot_slice(change(template), **options)

    assert message in str(caught.value)
    assert plt.get_fignums() == []


def test_atlas_on_another_grid_is_refused(template: xr.DataArray, atlas: Atlas) -> None:
    """Outlines in the wrong place would be worse than none."""
    message = r"not on the grid of the array, along '{}': call atlas\.resample_like"
    with pytest.raises(ArgumentError, match=message.format("x")):
        plot_slice(template.isel(x=slice(1, None)), atlas=atlas)
    with pytest.raises(ArgumentError, match=message.format("y")):
        plot_slice(template.assign_coords(y=template.y + 0.05), atlas=atlas)
    with pytest.raises(ArgumentError, match=message.format("z")):
        plot_slice(template.isel(z=3).drop_vars("z"), atlas=atlas)
    with pytest.raises(ArgumentError, match=message.format("z")):
        plot_slice(template.isel(z=3).assign_coords(z=40.0), atlas=atlas)
    with pytest.raises(UnknownKeyError, match="Acronym 'nope' not found"):
        plot_slice(template, atlas=atlas, regions=["nope"])
    with pytest.raises(TypeError, match=r"must be an xarray\.DataArray, not ndarray"):
        plot_slice(template.values)  # type: ignore[arg-type]


def test_label_that_the_table_lacks_is_outlined_in_white(
    template: xr.DataArray, atlas: Atlas
) -> None:
    """Published atlases have such labels."""
    labels = atlas.annotation.copy(data=np.where(atlas.annotation == 382, 77, atlas.annotation))
    odd = Atlas(atlas.to_dataset().assign(annotation=labels), atlas.structures)

    panel = plot_slice(template, z=8.0, atlas=odd)

    names = [text.get_text() for text in panel.get_legend().get_texts()]
    assert "77" in names
    assert panel.get_legend().get_lines()[names.index("77")].get_color() == (1, 1, 1)


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
