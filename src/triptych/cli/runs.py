"""`triptych runs`."""

from __future__ import annotations

from typing import Any

from triptych.cli.options import AsJson


def runs(json: AsJson = False) -> None:
    """List the runs of this folder (or of `TRIPTYCH_RUNS`) with their main figures."""
    from triptych.api import RunError, list_runs, runs_folder
    from triptych.cli.output import cell, print_json, print_table, say

    documents: list[dict[str, Any]] = []
    for run in list_runs():
        try:
            facts = run.facts()
        except RunError as error:
            say(f"warning: {error}")
            continue
        documents.append(
            {
                "name": run.name,
                "status": facts.get("status", "not begun"),
                "panel": facts.get("panel"),
                "began": facts.get("began"),
                "epochs": facts.get("epochs", len(run.history())),
                "best_epoch": facts.get("best_epoch"),
                "evaluations": facts.get("evaluations", {}),
                "findings": facts.get("findings", {}),
            }
        )
    if json:
        print_json({"folder": str(runs_folder()), "runs": documents})
        return
    if not documents:
        say(f"No runs in {runs_folder().absolute()}. Train one with: triptych train RECIPE --name NAME")
        return
    rows = []
    for document in documents:
        figures = [_figures(name, result) for name, result in document["evaluations"].items()]
        figures += [f"{name}: {cell(value)}" for name, value in document["findings"].items()]
        began = str(document["began"] or "")[:16].replace("T", " ")
        epochs = str(document["epochs"] or "-")
        status = "running or killed" if document["status"] == "running" else document["status"]
        rows.append([document["name"], status, epochs, began, "\n".join(figures)])
    print_table(["run", "status", "epochs", "began (UTC)", "figures"], rows)


def _figures(name: str, result: dict[str, Any]) -> str:
    known = {"cer": "CER", "wer": "WER", "accuracy": "accuracy"}
    values = [f"{text} {result[key]['value']:.4f}" for key, text in known.items() if key in result]
    return f"{name}: {', '.join(values)}"
