"""The norm that draws labels in their own colours; imports matplotlib, so import it when needed."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.colors import BoundaryNorm

__all__ = ["LabelNorm"]


class LabelNorm(BoundaryNorm):
    """A norm that compares by value: attributes of two loads of one file are then the same."""

    def __init__(self, labels: Sequence[int]) -> None:
        super().__init__([*labels, labels[-1] + 1], len(labels), clip=False)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, LabelNorm):
            return NotImplemented
        return [*self.boundaries] == [*other.boundaries]

    def __hash__(self) -> int:
        return hash(tuple(self.boundaries))
