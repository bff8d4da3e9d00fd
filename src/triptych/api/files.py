"""Places of data, and files that are complete or absent; see `triptych.data` and `triptych.files`."""

from triptych.config.serve import describe_limits, load_limits
from triptych.data.files import check_location
from triptych.files import atomic_write, tsv_row

__all__ = ["atomic_write", "check_location", "describe_limits", "load_limits", "tsv_row"]
