"""
A response map
==============

Find what responds to a stimulus in the sample dataset, and draw it.

Run it with: ``python examples/sample_analysis.py [figure.png]``. With the name of a file, the
figure is written there instead of being shown, for machines without a screen.
"""

import sys

import matplotlib.pyplot as plt
import xarray as xr

from confusius_datasets import fetch_sample

dataset = fetch_sample(download=False)
recording = {"subject": "mouse1", "session": "day1", "acquisition": "slice02"}

# %%
# Ask for the recording, its events and the true map. This downloads these files and no other.
pwd = dataset.load(**recording, task="checkerboard", suffix="pwd")
events = dataset.get(**recording, suffix="events", extension=".tsv")[0].get_df()
truth = dataset.load(**recording, suffix="mask")
print(len(dataset.missing()), "files of the dataset are still not on disk")
events

# %%
# When is the stimulus on, as the blood sees it? About 1.5 s later than the mouse.
stimulus = 0 * pwd.time
for onset, duration in zip(events["onset"], events["duration"], strict=True):
    since = pwd.time - onset - 1.5
    stimulus = stimulus + ((since >= 0) & (since < duration))

# %%
# Correlate each voxel with that, and compare with the truth.
correlation = xr.corr(pwd, stimulus, dim="time")
inside = float(correlation.where(truth > 0).mean())
outside = float(correlation.where(truth == 0).mean())
print(f"mean correlation: {inside:.2f} in voxels that respond, {outside:.2f} elsewhere")

# %%
# The black line surrounds the voxels that were made to respond.
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 3.9), layout="constrained")
pwd.mean("time").isel(z=0).plot.imshow(
    ax=left,
    cmap="gray",
    robust=True,
    cbar_kwargs={"label": "power Doppler (arb. units)", "shrink": 0.8},
)
correlation.isel(z=0).plot.imshow(
    ax=right, cmap="RdBu_r", vmin=-1, vmax=1, cbar_kwargs={"label": "correlation r", "shrink": 0.8}
)
truth.isel(z=0).plot.contour(ax=right, levels=[0.5], colors="black", add_labels=False)
left.set_title("Mean power Doppler")
right.set_title("Correlation with the stimulus, and what responds")
for axes in (left, right):
    axes.set(xlabel="lateral x (mm)", ylabel="depth y (mm)", aspect="equal")
    axes.invert_yaxis()
if len(sys.argv) > 1:
    figure.savefig(sys.argv[1], dpi=150)
    print(sys.argv[1])
else:
    plt.show()
