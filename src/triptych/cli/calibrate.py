"""`triptych calibrate`."""

from __future__ import annotations

from triptych.cli.options import AsJson, RunName


def calibrate(run: RunName, json: AsJson = False) -> None:
    """Calibrate a see run: of 100 images classified with probability 0.8, 80 should be right.

    Fits one number, the temperature, on the validation images. Predicted classes stay the same with one view; only
    their probabilities change. Evaluations with the old temperature are deleted.

    Example:

        triptych calibrate photos
    """
    from triptych import api
    from triptych.api import Run
    from triptych.cli.output import print_json, print_table, say, shell_name

    opened = Run.open(run)
    found = api.calibrate(opened)
    if json:
        print_json({"run": str(opened.path), **found.to_dict()})
        return
    rows = [
        ["log loss", f"{found.before.log_loss.value:.4f}", f"{found.after.log_loss.value:.4f}"],
        ["calibration error", f"{found.before.calibration_error:.4f}", f"{found.after.calibration_error:.4f}"],
    ]
    title = f"{opened.name}, valid: {found.after.n_items} images, temperature {found.temperature:g}"
    print_table(["measure", "before", "after"], rows, title=title)
    say(f"next    triptych test {shell_name(opened)}")
