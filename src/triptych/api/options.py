"""Options of the commands that take a run; see `triptych.config.options`."""

from triptych.config.options import RunOption, run_options

__all__ = ["RunOption", "run_options"]
