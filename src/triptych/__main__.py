"""`python -m triptych` is the command `triptych`."""

from triptych.cli.main import main

main()
