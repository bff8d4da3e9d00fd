"""Parameters, multiply-accumulates and receptive fields of the network of a recipe or a run."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from torch import nn

from triptych.anatomy.counts import LayerCount as LayerCount, NetworkCount as NetworkCount, count_parameters
from triptych.api.locating import placed
from triptych.api.panels import panel_of
from triptych.config import Recipe
from triptych.data.locations import Location
from triptych.runs.run import Run


@dataclass(frozen=True)
class ModuleCount:
    """Parameters of one part of a network, counted without running it.

    Attributes:
        name: dotted path; "" for those that the network holds itself.
        kind: class name.
        parameters: its own, without those of its parts.
        trainable: those that receive gradients.
    """

    name: str
    kind: str
    parameters: int
    trainable: int


@dataclass(frozen=True)
class Counted:
    """Counts of a network.

    Attributes:
        panel: of the recipe or run.
        input_shape: of one input, (C, height, width); None where inputs have no fixed shape.
        network: layer by layer as it ran; None where inputs have no fixed shape.
        modules: part by part; empty where `network` is there.
    """

    panel: str
    input_shape: tuple[int, int, int] | None
    network: NetworkCount | None
    modules: tuple[ModuleCount, ...] = ()

    @property
    def parameters(self) -> int:
        """All of them."""
        if self.network is not None:
            return self.network.parameters
        return sum(module.parameters for module in self.modules)

    @property
    def trainable(self) -> int:
        """Those that receive gradients."""
        if self.network is not None:
            return self.network.trainable
        return sum(module.trainable for module in self.modules)


def count_run(run: Run) -> Counted:
    """Count the network that a run keeps.

    Raises:
        RunError: its model is missing or damaged.
    """
    panel = panel_of(run.recipe().panel)
    return _counted(panel.name, *panel.network_of(panel.load(run)))


def count_recipe(recipe: Recipe, *, data: Location | None = None, classes: int | None = None) -> Counted:
    """Count the network that a recipe would train.

    Args:
        recipe: any.
        data: where its data is, when the number of classes or symbols must be read from it.
        classes: of images, >= 2, in place of the data's.
    Raises:
        RecipeError: the number of classes is not known, breaks its rule, or has no meaning for the panel.
    """
    recipe, panel = placed(recipe, data), panel_of(recipe.panel)
    return _counted(panel.name, *panel.untrained(recipe, data, classes=classes))


def _counted(panel: str, network: nn.Module, shape: tuple[int, int, int] | None) -> Counted:
    if shape is None:
        return Counted(panel, None, None, _modules(network))
    return Counted(panel, shape, count_parameters(network, shape))


def _modules(network: nn.Module) -> tuple[ModuleCount, ...]:
    """Every part with parameters of its own; those that parts share count at the first."""
    seen: set[nn.Parameter] = set()
    found = []
    for name, module in network.named_modules():
        own = [parameter for parameter in module.parameters(recurse=False) if parameter not in seen]
        seen.update(own)
        if own:
            numbers = Counter(dict.fromkeys((True, False), 0))
            for parameter in own:
                numbers[parameter.requires_grad] += parameter.numel()
            found.append(ModuleCount(name, type(module).__name__, sum(numbers.values()), numbers[True]))
    return tuple(found)
