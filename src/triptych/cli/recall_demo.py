"""`triptych demo recall`."""

from __future__ import annotations


def show(*, name: str | None, as_json: bool) -> None:
    """Run the demo of recall into a folder of its own among the runs, and say what came out."""
    from dataclasses import asdict

    from triptych.api import NOISE, SUCCESS, run_recall_demo, runs_folder
    from triptych.cli.output import print_json, print_table, say

    out = runs_folder() / (name or "demo-recall")
    say("Storing scanned digits and asking for each by its upper half, and through noise.")
    done = run_recall_demo(out)
    if as_json:
        print_json(
            {
                "stored": done.stored,
                "beta": done.beta,
                "results": [asdict(result) for result in done.results],
                "picture": str(done.picture),
                "patterns": str(done.patterns),
                "cues": str(done.cues),
                "labels": str(done.labels),
                "seconds": done.seconds,
            }
        )
        return
    print(f"\nStored {done.stored} digits of 8 x 8 pixels, beta {done.beta:g}, in {done.seconds:.1f} s.\n")
    rows = [
        [r.kind, str(r.cues), f"{r.recalled:.1%}", f"{r.same_class:.1%}", f"{r.mean_steps:.1f}"] for r in done.results
    ]
    print_table(["cue", "cues", "recalled", "same digit", "steps"], rows)
    print(f"\nRecalled: cosine above {SUCCESS:g} to what was stored. Noise: {NOISE:g} times as strong as the digit.")
    if all(result.energy_never_rose for result in done.results):
        print("The energy rose in no step of any cue.")
    else:
        print(f"The energy rose by up to {max(r.largest_rise for r in done.results):g}: more than rounding explains.")
    print(f"\npicture  {done.picture}")
    print("\nTry next:")
    print(f"  triptych memory build {done.patterns} --labels {done.labels} --out {out / 'store'}")
    print(f"  triptych memory query {out / 'store'} {done.cues}")
    print("  triptych experiment recall-capacity   # how many patterns fit")
