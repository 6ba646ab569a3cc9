"""One mouse, one task, one slice of a public dataset, as an array.

This downloads about 30 MB from OSF on the first run, and nothing on the next.

Run it with: python examples/quickstart.py
"""

from confusius_datasets import fetch_nunez_elizalde_2022

dataset = fetch_nunez_elizalde_2022(
    subjects="CR020", sessions="20191122", tasks="spontaneous", acqs="slice03"
)
print(repr(dataset))

# Name the recording, and get the array.
pwd = dataset.load(
    subject="CR020", session="20191122", task="spontaneous", acquisition="slice03", suffix="pwd"
)
print(pwd)

# The angiography of the same session came along: it has no task and no slice to filter by.
angiography = dataset.load(subject="CR020", session="20191122", datatype="angio", suffix="pwd")
print(angiography.dims)
