"""Hardware, output of a training, and dimensions of a search; see `triptych.training`."""

from triptych.training.dimensions import parse_search
from triptych.training.hardware import PRECISIONS, Hardware, check_option
from triptych.training.output import Output, PrintEpochs

__all__ = ["PRECISIONS", "Hardware", "Output", "PrintEpochs", "check_option", "parse_search"]
