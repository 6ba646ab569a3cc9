"""The tour that `confusius-datasets demo` gives, and the synthetic brains that it shows."""

from __future__ import annotations

from confusius_datasets._demo.tour import run_demo

__all__ = ["run_demo"]
