"""Public functional-ultrasound datasets as xarray arrays: one mouse, one task, one slice, now."""

__version__ = "0.1.0"
