"""
What is in a dataset
====================

Look around in a dataset before anything is downloaded: labels, sizes, what a query would cost.

Run it with: ``python examples/sample_queries.py``
"""

import matplotlib.pyplot as plt

from confusius_datasets import Query, fetch_sample

dataset = fetch_sample(download=False)
print(len(dataset.missing()), "files are not on disk yet")

# %%
# The values of an entity never need a download.
print(dataset.get_subjects(), dataset.get_sessions(), dataset.get_tasks())

# %%
# A table of files: a column for each entity, the size in bytes, and whether the file is on disk.
images = dataset.to_df(suffix="pwd", extension=".nii.gz")
images[["subject", "session", "datatype", "task", "acquisition", "size", "on_disk"]]

# %%
# It is an ordinary pandas DataFrame, so it can be summed up and drawn: MB by subject and task.
recordings = images[images["datatype"] == "fusi"]
megabytes = recordings.pivot_table(index="subject", columns="task", values="size", aggfunc="sum")
megabytes /= 1e6
axes = megabytes.plot.barh(stacked=True, figsize=(7, 2.2), xlabel="size (MB)", ylabel="")
axes.figure.set_layout_engine("constrained")
axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
plt.show()

# %%
# What would a query download? The recordings come with the sidecars that describe them.
dataset.missing(subject="mouse1", session="day1", task="rest", suffix="pwd")

# %%
# Angiographies have no task, and can be asked for by just that.
angiographies = dataset.get(task=Query.NONE, suffix="pwd", extension=".nii.gz", download=False)
print([file.filename for file in angiographies])

# %%
# A query that finds nothing: each filter matches files, but no file has all three.
dataset.explain(subject="mouse1", task="rest", suffix="events")
