"""A model held to a lexicon: another step model, so every decoder works with it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Generic, Literal, Self, get_args

import torch
from torch import Tensor

from triptych.errors import RecipeError, ShapeError, did_you_mean
from triptych.spell.decoding.contract import SourceBatch, StateT, StepModel
from triptych.spell.decoding.trace import Penalised
from triptych.spell.lexicon import Lexicon

Mode = Literal["hard", "open"]


@dataclass(frozen=True)
class ConstrainedState(Generic[StateT]):
    """The model's state and the lexicon node that each row has reached.

    Attributes:
        inner: the model's own state.
        nodes: nodes before the next symbol is fed. Shape (B,), int64.
        lexicon: on the device of the nodes.
        begun: whether the start symbol has been fed; it is no part of a word.
    """

    inner: StateT
    nodes: Tensor
    lexicon: Lexicon
    begun: bool = False

    @property
    def attention(self) -> Tensor | None:
        """The model's own."""
        return self.inner.attention

    def select(self, index: Tensor) -> Self:
        """The rows at `index`."""
        return type(self)(self.inner.select(index), self.nodes[index], self.lexicon, self.begun)


class Constrained(Generic[StateT]):
    """A step model whose targets come from a lexicon, always or by preference.

    hard: a symbol that continues no word, and the end symbol where no word ends, get -inf; only words are finished.
        A hypothesis cut by the length limit is the beginning of a word, and says `finished=False`.
    open: the step that leaves the lexicon (by such a symbol, or by such an end) costs `weight` nats, once. A spelling
        outside the lexicon wins where the model prefers it by more than that.

    All other log-probabilities stay the model's own: rows are *not* renormalised, and sum to less than one. Decoders do
    not rely on normalised rows, and sampling normalises what it draws from. `Hypothesis.log_probability` is the bare
    model's in both modes; `Hypothesis.score` includes the weight.

    Args:
        model: the step model to wrap.
        lexicon: its targets. Pass `lexicon.to(device)` to spare a copy per batch on another device.
        mode: "hard" or "open".
        weight: nats >= 0, for "open" only.
    Raises:
        RecipeError: unknown mode, a weight out of range, missing for "open" or given for "hard"; an empty lexicon, or
            one that uses the end symbol.
    """

    def __init__(
        self, model: StepModel[StateT], lexicon: Lexicon, mode: Mode = "hard", weight: float | None = None
    ) -> None:
        _check_mode(mode, weight)
        if not len(lexicon):
            raise RecipeError("the lexicon has 0 words; expected 1 or more. Pass words, or decode without a lexicon.")
        if bool((lexicon.edges % max(lexicon.width, 1) == model.end_symbol).any()):
            raise RecipeError(
                f"the lexicon uses symbol {model.end_symbol}, which ends a target; expected words without it. "
                "Pass words without start and end symbols."
            )
        self.model = model
        self.lexicon = lexicon
        self.mode = mode
        self.weight = math.inf if weight is None else weight

    @property
    def end_symbol(self) -> int:
        """The model's own."""
        return self.model.end_symbol

    @property
    def start_symbol(self) -> int:
        """The model's own."""
        return self.model.start_symbol

    def start(self, batch: SourceBatch) -> ConstrainedState[StateT]:
        """The model's state with every row at the root."""
        device = batch.symbols.device
        roots = torch.zeros(len(batch.lengths), dtype=torch.long, device=device)
        return ConstrainedState(self.model.start(batch), roots, self.lexicon.to(device))

    def step(self, symbols: Tensor, state: ConstrainedState[StateT]) -> tuple[Tensor, ConstrainedState[StateT]]:
        """The model's step with what the lexicon takes off. Shapes (B,) -> (B, V), not normalised.

        Raises:
            ShapeError: the lexicon has a symbol beyond the model's vocabulary.
        """
        log_probs, inner = self.model.step(symbols, state.inner)
        lexicon, vocabulary = state.lexicon, log_probs.shape[1]
        if lexicon.width > vocabulary:
            raise ShapeError(
                f"the lexicon's largest symbol is {lexicon.width - 1}; expected symbols below the vocabulary's size "
                f"{vocabulary}. Build the lexicon with the model's own target vocabulary."
            )
        nodes = lexicon.child(state.nodes, symbols) if state.begun else state.nodes
        leaves = ~lexicon.continuations(nodes, vocabulary)
        leaves[:, self.end_symbol] = ~lexicon.is_word[nodes]
        leaves &= (nodes != lexicon.outside)[:, None]
        # Not `weight * leaves`: an infinite weight times no departure would be nan.
        log_probs = torch.where(leaves, log_probs - self.weight, log_probs)
        return log_probs, ConstrainedState(inner, nodes, lexicon, begun=True)

    def penalty(self, symbols: Tensor, lengths: Tensor, finished: Tensor) -> Tensor:
        """Nats taken off each hypothesis. Shapes: symbols (H, T) padded, lengths and finished (H,) -> (H,)."""
        lexicon = self.lexicon.to(symbols.device)
        nodes = lexicon.walk(symbols, lengths)
        left = (nodes == lexicon.outside) | (finished & ~lexicon.is_word[nodes])
        own = torch.zeros(len(lengths), device=symbols.device).masked_fill(left, self.weight)
        inner = self.model.penalty(symbols, lengths, finished) if isinstance(self.model, Penalised) else 0.0
        return own + inner


def _check_mode(mode: str, weight: float | None) -> None:
    if mode not in get_args(Mode):
        hint = did_you_mean(str(mode), get_args(Mode))
        raise RecipeError(f"lexicon mode is {mode!r}; expected one of hard, open. {hint}")
    if mode == "hard" and weight is not None:
        raise RecipeError(f"lexicon weight is {weight} with mode 'hard'; expected none. Use mode 'open' to weigh.")
    if mode == "open" and (weight is None or not 0 <= weight < math.inf):
        raise RecipeError(
            f"lexicon weight is {weight} with mode 'open'; expected a number of nats >= 0. "
            "Use mode 'hard' to allow nothing else."
        )
