"""
Average response over subjects
==============================

Load several recordings with one call, cut them around the events, and average.

Run it with: ``python examples/sample_time_course.py``
"""

import matplotlib.pyplot as plt
import numpy as np

from confusius_datasets import fetch_sample

dataset = fetch_sample(download=False)
recordings = dataset.load_all(task="checkerboard", suffix="pwd")
print(len(recordings), "recordings")

# %%
# Each array says which recording it is, so its events and its mask are found by that.
lags = np.arange(-3, 10, 0.5)
figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
for subject, color in zip(dataset.get_subjects(), ("tab:blue", "tab:orange"), strict=True):
    courses = []
    for pwd in recordings:
        if pwd.subject != subject:
            continue
        place = {name: pwd[name].item() for name in ("subject", "session", "acquisition")}
        events = dataset.get(**place, suffix="events", extension=".tsv")[0].get_df()
        mask = dataset.load(**place, suffix="mask") > 0
        course = pwd.where(mask).mean(("z", "y", "x"))
        for onset in events["onset"]:
            piece = course.interp(time=onset + lags).values
            baseline = piece[lags < 0].mean()
            courses.append(100 * (piece / baseline - 1))
    mean = np.mean(courses, axis=0)
    error = np.std(courses, axis=0) / np.sqrt(len(courses))
    axes.plot(lags, mean, color=color, label=f"{subject}, {len(courses)} events")
    axes.fill_between(lags, mean - error, mean + error, color=color, alpha=0.25, linewidth=0)
axes.axvspan(0, 5, color="0.92", zorder=0, label="checkerboard")
axes.axhline(0, color="0.6", linewidth=0.8)
axes.set(xlabel="time after the onset (s)", ylabel="power Doppler (% change)")
axes.legend(frameon=False)
plt.show()
