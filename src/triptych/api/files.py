"""Places of data, and cells of a table as a line of text; see `triptych.data` and `triptych.files`."""

from triptych.data.files import check_location
from triptych.files import tsv_row

__all__ = ["check_location", "tsv_row"]
