"""Figures with intervals, and counts of layers, as calls return them."""

from triptych.anatomy.counts import LayerCount, NetworkCount
from triptych.export.quantize import Cost
from triptych.statistics import Estimate

__all__ = ["Cost", "Estimate", "LayerCount", "NetworkCount"]
