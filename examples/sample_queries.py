"""
What is in a dataset
====================

Look around in a dataset before anything is downloaded: labels, sizes, what a query would cost.

Run it with: ``python examples/sample_queries.py``
"""

from confusius_datasets import Query, fetch_sample

dataset = fetch_sample(download=False)
print(repr(dataset))

# %%
# The values of an entity never need a download.
print(dataset.get_subjects(), dataset.get_sessions(), dataset.get_tasks())

# %%
# A table of files: a column for each entity, the size in bytes, and whether the file is on disk.
images = dataset.to_df(suffix="pwd", extension=".nii.gz")
images[["subject", "session", "datatype", "task", "acquisition", "size", "on_disk"]]

# %%
# It is an ordinary pandas DataFrame, so it can be summed up: MB by subject and task.
recordings = images[images["datatype"] == "fusi"]
recordings.pivot_table(index="subject", columns="task", values="size", aggfunc="sum") / 1e6

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
