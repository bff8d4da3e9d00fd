"""Several runs' models kept as one: which may be joined, and how description and tensors lie in the new run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor, nn

from triptych.errors import RunError
from triptych.runs.run import Run, hashes

Network = TypeVar("Network", bound=nn.Module)
_OWN = ("format", "panel", "architecture")  # of a description: what the new one says of itself, or of each member


def joined(
    runs: Sequence[Run],
    panel: str,
    *,
    alike: Callable[[Mapping[str, Any], Path], Any],
    otherwise: str,
    free: Mapping[str, Any],
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Description and tensors of one model made of several runs' models.

    Args:
        runs: the members.
        panel: of all of them.
        alike: what of a description, with its path, must be equal in all of them.
        otherwise: what is said where it is not.
        free: the settings of `[data]` that may differ, each with a value: a limit, since members may take different parts
            of the same training split.
    Raises:
        RunError: fewer than two runs, an ensemble among them, models that differ, or other data: what one member was
            trained on might be another's test.
    """
    if len(runs) < 2:
        raise RunError(field="the number of runs", value=len(runs), expected="at least two", hint="Name more runs.")
    advice = "Train the members on the same data with different seeds."
    places = [run.path.resolve() for run in runs]
    if len(set(places)) < len(places):
        twice = next(run for run in runs if places.count(run.path.resolve()) > 1)
        raise RunError(f"the run {twice.name} is named twice.", hint=advice)
    descriptions = [run.model(panel) for run in runs]
    first = alike(descriptions[0], runs[0].path / "model.json")
    tensors: dict[str, Tensor] = {}
    for number, (run, description) in enumerate(zip(runs, descriptions, strict=True)):
        if "members" in description:
            raise RunError("this run is an ensemble.", hint="Name its members instead.", path=run.path)
        if alike(description, run.path / "model.json") != first:
            raise RunError(f"{run.name} has {otherwise} than {runs[0].name}.", hint=advice)
        if _data_of(run, free) != _data_of(runs[0], free):
            raise RunError(
                f"{run.name} was trained on other data or other splits than {runs[0].name}, so training data of one "
                "may be in the other's test.",
                hint=advice,
            )
        tensors |= {f"{number}.{name}": tensor for name, tensor in run.tensors().items()}
    whole = {key: value for key, value in descriptions[0].items() if key not in _OWN}
    return {"members": [description["architecture"] for description in descriptions], **whole}, tensors


def load_networks(run: Run, description: Mapping[str, Any], build: Callable[[Any], Network]) -> list[Network]:
    """The networks of a run with their weights, for evaluation: its members', or the one that it holds.

    Args:
        run: whose tensors are loaded.
        description: of its model.
        build: makes a network from its part of the description.
    Raises:
        RunError: the description is damaged, or the weights are of another one.
    """
    path, tensors = run.path / "model.json", run.tensors()
    architectures = architectures_of(description)
    if not isinstance(architectures, list) or not architectures:
        raise RunError(field="members", value=architectures, expected="a list of one model or more", path=path)
    networks = []
    for number, architecture in enumerate(architectures):
        prefix = f"{number}." if "members" in description else ""
        own = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
        network = build(architecture)
        try:
            network.load_state_dict(own)
        except RuntimeError as error:
            raise RunError(
                f"model.safetensors does not fit model.json ({' '.join(str(error).split())}).",
                hint="Copy both files from the same training.",
                path=run.path,
            ) from None
        networks.append(network.eval())
    return networks


def architectures_of(description: Mapping[str, Any]) -> Any:
    """What a description says of each network: a list, unless the description is damaged."""
    return description.get("members", [description.get("architecture")])


def _data_of(run: Run, free: Mapping[str, Any]) -> tuple[list[Any], Any]:
    """What decides which items a run was trained on."""
    data: Any = run.recipe().data
    return hashes(run.facts().get("data", [])), data.model_copy(update=dict(free))
