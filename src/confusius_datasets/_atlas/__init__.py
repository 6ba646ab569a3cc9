"""Brain atlases: BrainGlobe's, as labelled arrays in mm, on their own grid or on another's.

`Atlas` is what a user holds; how atlases are found, resampled and searched stands in files of its
own beside it.
"""

from __future__ import annotations

from confusius_datasets._atlas.atlas import Atlas

__all__ = ["Atlas"]
