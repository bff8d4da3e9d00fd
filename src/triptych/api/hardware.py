"""Hardware, output of a training, and dimensions of a search; see `triptych.training`."""

from triptych.training.dimensions import parse_search as parse_search
from triptych.training.hardware import PRECISIONS as PRECISIONS, Hardware as Hardware, check_option as check_option
from triptych.training.output import Output as Output, PrintEpochs as PrintEpochs
