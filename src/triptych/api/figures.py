"""Figures with intervals, as calls return them; see `triptych.statistics`."""

from triptych.statistics import Estimate

__all__ = ["Estimate"]
