"""What marks parameters of a test."""

from __future__ import annotations

from typing import Any

import pytest

__all__ = ["slow"]


def slow(*values: Any) -> Any:
    """Leave a case of a test out of the quick tests, where its other cases show the same."""
    return pytest.param(*values, marks=pytest.mark.slow)
