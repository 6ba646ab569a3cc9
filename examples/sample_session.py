"""
One session: vessels and slices
===============================

Draw the slices of a session's angiography, and mark those that were recorded.

Run it with: ``python examples/sample_session.py``
"""

import matplotlib.pyplot as plt
import numpy as np

from confusius_datasets import fetch_sample

dataset = fetch_sample(download=False)
session = {"subject": "mouse1", "session": "day1"}

# %%
# The angiography is a volume: ``z`` goes from slice to slice, ``y`` is depth, ``x`` is lateral.
angiography = dataset.load(**session, datatype="angio", suffix="pwd")
print(angiography.dims, angiography.shape)

# %%
# Every recording knows its slice, and where it lies.
recordings = dataset.load_all(**session, task="rest", suffix="pwd")
places = {pwd.acquisition.item(): pwd.z.item() for pwd in recordings}
print(places)

# %%
# Coordinates are in mm in every file of a session, so the two are compared by position.
decibels = 10 * np.log10(angiography / angiography.max())
figure, panels = plt.subplots(3, 3, figsize=(9, 7.2), layout="constrained")
for panel, z in zip(panels.flat, decibels.z.values, strict=True):
    image = decibels.sel(z=z)
    shown = image.plot.imshow(
        ax=panel, cmap="gray", vmin=-20, vmax=0, add_colorbar=False, yincrease=False
    )
    label = next((name for name, place in places.items() if np.isclose(place, z)), "")
    panel.set_title(f"z = {z:.2f} mm {label}", color="tab:red" if label else "black", fontsize=10)
    panel.set(xlabel="", ylabel="", aspect="equal")
figure.supxlabel("lateral x (mm)")
figure.supylabel("depth y (mm)")
figure.colorbar(shown, ax=panels, label="power Doppler (dB)", shrink=0.6)
plt.show()
