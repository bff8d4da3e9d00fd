"""`triptych demo recall`."""

from __future__ import annotations


def show(*, name: str | None, as_json: bool) -> None:
    """Run the recall demo into a run directory, and print its results."""
    from dataclasses import asdict

    from triptych import api
    from triptych.cli.output import print_json, print_table, say

    say("Storing scanned digits, and recalling each from its upper half and from a noisy copy.")
    done = api.run_recall_demo(name or "demo-recall")
    out = done.figure.parent
    if as_json:
        document = asdict(done)
        document["picture"] = document.pop("figure")
        print_json(document)
        return
    print(f"\nStored {done.stored} digits of 8 x 8 pixels, beta {done.beta:g}, in {done.seconds:.1f} s.\n")
    rows = [
        [r.kind, str(r.cues), f"{r.recalled:.1%}", f"{r.same_class:.1%}", f"{r.mean_steps:.1f}"] for r in done.results
    ]
    print_table(["cue", "cues", "recalled", "same digit", "steps"], rows)
    print(
        f"\nRecalled: cosine above {api.SUCCESS:g} to the stored digit. "
        f"Noise: {api.NOISE:g} times as strong as the digit."
    )
    if all(result.energy_never_rose for result in done.results):
        print("The energy never rose.")
    else:
        print(f"The energy rose by up to {max(r.largest_rise for r in done.results):g}: more than rounding can cause.")
    print(f"\nfigure  {done.figure}")
    print("\nTry next:")
    build = f"triptych memory build {done.patterns} --labels {done.labels} --normalisation centred-unit"
    print(f"  {build} --out {out / 'store'}")
    print(f"  triptych memory query {out / 'store'} {done.cues}")
    print("  triptych experiment recall-capacity   # how many patterns fit")
