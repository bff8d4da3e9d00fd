"""What to train on, what a training shows, and what a search varies; see `triptych.training`."""

from triptych.training.dimensions import parse_search
from triptych.training.hardware import PRECISIONS, Hardware, check_option
from triptych.training.output import Output, print_epoch

__all__ = ["PRECISIONS", "Hardware", "Output", "check_option", "parse_search", "print_epoch"]
