"""Associative memories as layers of a network: association, pooling and lookup.

Without options a layer is plain retrieval, q <- X' softmax(beta X q), and learns nothing. Projections, normalisation, a
beta that is learnt, and several heads, each a memory of its own on a part of the width, are chosen one by one. With
values V in place of the patterns in the last step, and Wq, Wk, Wv, Wo the projections,

    q_0 = Wq r,    q_{t+1} = K' softmax(beta K q_t),    result = Wo V' softmax(beta K q_{steps - 1}),

for stored patterns Y with K = Y Wk' and V = Y Wv': one step is multi-head attention.

Letters in shapes: B batch, S states, N stored patterns, D width, heads A. Errors are those of `triptych.recall`.

Source: Ramsauer et al. 2020, arXiv:2008.02217, section 3.  Checked by tests/recall/test_layers.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from triptych.errors import TriptychError
from triptych.recall.checks import check_beta, check_count, check_mask, check_patterns, check_tensor, shape_error

_POOLING_SCALE = 0.02  # of fresh pooling states: near zero, where every pattern has nearly the same weight


@dataclass(frozen=True)
class Trace:
    """Internal quantities of a layer.

    Attributes:
        weights: of the stored patterns in the last step; zero where there is none. Shape (B, A, S, N).
        energies: E of each head's state before every step and after the last, in the width of a head, with M the
            largest norm of that head's patterns; it never rises. Shape (steps + 1, B, A, S).
    """

    weights: Tensor
    energies: Tensor


class Hopfield(nn.Module):
    """Association: each state moves towards the stored patterns it is near.

    Args:
        width: D of states and patterns.
        heads: A, which divides D.
        steps: updates, >= 1; the last one reads out the values.
        beta: inverse temperature, > 0, or one for each head; 1 / sqrt(D / A) when None.
        learn_beta: train each head's beta, beginning at `beta`; it stays positive.
        projections: Wq, Wk, Wv and Wo, each with a bias.
        normalise: normalise states, and patterns, over their width first, with a scale and shift that are learnt.
    """

    def __init__(
        self,
        width: int,
        *,
        heads: int = 1,
        steps: int = 1,
        beta: float | Sequence[float] | None = None,
        learn_beta: bool = False,
        projections: bool = False,
        normalise: bool = False,
    ) -> None:
        super().__init__()
        for name, size in (("width", width), ("heads", heads)):
            check_count(size, name=name)
        check_count(steps, name="steps", hint="One step is attention.")
        if width % heads:
            expected = f"an integer >= 1 that divides the width, {width}"
            raise TriptychError(field="heads", value=heads, expected=expected)
        self.width, self.heads, self.steps = width, heads, steps
        betas = _betas(beta, width // heads, heads)
        self._shared_beta = None if learn_beta or len(set(betas)) > 1 else betas[0]
        self.log_beta = nn.Parameter(torch.tensor(betas).log()) if learn_beta else None
        self.register_buffer("_fixed_beta", torch.tensor(betas), persistent=False)
        self.query, self.key, self.value, self.output = (
            nn.Linear(width, width) if projections else nn.Identity() for _ in range(4)
        )
        self.normalise_state, self.normalise_stored = (
            nn.LayerNorm(width) if normalise else nn.Identity() for _ in range(2)
        )
        for layer in (self.query, self.key, self.value, self.output):
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)

    @property
    def beta(self) -> Tensor:
        """The inverse temperature of each head. Shape (A,)."""
        return self.get_buffer("_fixed_beta") if self.log_beta is None else self.log_beta.exp()

    def forward(
        self,
        state: Tensor,
        stored: Tensor | None = None,
        *,
        values: Tensor | None = None,
        stored_valid: Tensor | None = None,
    ) -> Tensor:
        """Where each state ends; zeros, before the output projection, for one that has nothing stored to compare with.

        Args:
            state: Shape (B, S, D).
            stored: patterns, the states themselves when None. Shape (B, N, D), or (1, N, D) for one memory for all.
            values: what is read out, one for each pattern, as given; the patterns, normalised where the layer
                normalises, when None. Shape as `stored`.
            stored_valid: True where a pattern is real; what others hold, NaN too, has no effect. Shape (B, N).
        Returns:
            Shape (B, S, D); a state with NaN, and every state where a real pattern has NaN, gives NaN.
        """
        queries, keys, read, mask = self._prepare(state, stored, values, stored_valid)
        for _ in range(self.steps - 1):
            queries = self._read(queries, keys, keys, mask)
        found = self._read(queries, keys, read, mask)
        result: Tensor = self.output(found.transpose(1, 2).flatten(2))
        return result

    @torch.no_grad()
    def trace(self, state: Tensor, stored: Tensor | None = None, *, stored_valid: Tensor | None = None) -> Trace:
        """The weights and energies of the same steps, without gradients; for the arguments see `forward`."""
        queries, keys, _, mask = self._prepare(state, stored, None, stored_valid)
        beta = self.beta.to(queries).view(-1, 1, 1)
        energies, weights = [], queries.new_empty(0)
        for _ in range(self.steps):
            scores = queries @ keys.mT  # (B, A, S, N)
            energies.append(_energy(queries, keys, scores, beta, mask))
            weights = _weights(beta * scores, mask)
            queries = weights @ keys
        energies.append(_energy(queries, keys, queries @ keys.mT, beta, mask))
        return Trace(weights, torch.stack(energies))

    def extra_repr(self) -> str:
        """Sizes, as `print(module)` shows them."""
        return f"width={self.width}, heads={self.heads}, steps={self.steps}, learn_beta={self.log_beta is not None}"

    def _prepare(
        self, state: Tensor, stored: Tensor | None, values: Tensor | None, stored_valid: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Queries (B, A, S, D/A), keys and values (B, A, N, D/A), and which patterns are real (B, 1, 1, N)."""
        given = state if stored is None else stored
        _check_states(state, given, values, self.width)
        patterns = self.normalise_stored(given)
        read = self.value(patterns if values is None else values)
        queries = self._split(self.query(self.normalise_state(state)))
        keys, read = self._split(self.key(patterns)), self._split(read)
        if stored_valid is None:
            return queries, keys, read, None
        check_mask(stored_valid, (len(state), keys.shape[2]), name="stored_valid", true="a pattern is real")
        padding = ~stored_valid[:, None, :, None]  # a weight of zero times NaN is NaN
        return queries, keys.masked_fill(padding, 0.0), read.masked_fill(padding, 0.0), stored_valid[:, None, None]

    def _split(self, rows: Tensor) -> Tensor:
        return rows.reshape(*rows.shape[:2], self.heads, self.width // self.heads).transpose(1, 2)

    def _read(self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
        keys, values = (part.expand(len(queries), -1, -1, -1) for part in (keys, values))
        if not queries.numel() or not keys.numel():
            return queries * 0.0  # nothing to move, or nothing stored
        scale = self._shared_beta
        if scale is None:
            queries, scale = queries * self.beta.to(queries).view(-1, 1, 1), 1.0
        found = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask, scale=scale)
        # PyTorch's kernel on the CPU gives zeros for queries that are NaN, which would hide a diverged network.
        return found.masked_fill(~queries.isfinite().all(-1, keepdim=True), math.nan)


class HopfieldPooling(nn.Module):
    """Pooling: states that are learnt attend to a set of patterns, whatever its size, and each gives one row.

    Without projections, fresh pooling states are near zero and give nearly the patterns' mean.

    Args:
        width: D.
        queries: how many pooling states, >= 1.
        association: how states move; one step of plain retrieval when None. Its width is D.
    """

    def __init__(self, width: int, *, queries: int = 1, association: Hopfield | None = None) -> None:
        super().__init__()
        check_count(queries, name="queries", hint="Use 1 for one row per set.")
        self.association = Hopfield(width) if association is None else association
        if self.association.width != width:
            expected = f"{self.association.width}, the association's width"
            raise TriptychError(field="width", value=width, expected=expected)
        self.states = nn.Parameter(_POOLING_SCALE * torch.randn(queries, width))

    def forward(self, patterns: Tensor, patterns_valid: Tensor | None = None) -> Tensor:
        """Shapes: patterns (B, S, D), True where one is real (B, S), result (B, queries, D)."""
        states = self.states.expand(len(patterns), -1, -1)
        result: Tensor = self.association(states, patterns, stored_valid=patterns_valid)
        return result


class HopfieldLayer(nn.Module):
    """Lookup: states attend to patterns that the layer holds, and read out the values that belong to them.

    Args:
        patterns: X, what to begin with. Shape (N, D).
        values: one for each pattern; the patterns themselves when None. Shape (N, D).
        trainable: train patterns and values; otherwise they are fixed, and saved with the module all the same.
        association: how states move; plain retrieval when None. Its width is D.
    """

    patterns: Tensor
    values: Tensor | None

    def __init__(
        self,
        patterns: Tensor,
        *,
        values: Tensor | None = None,
        trainable: bool = True,
        association: Hopfield | None = None,
    ) -> None:
        super().__init__()
        check_patterns(patterns)
        if values is not None and values.shape != patterns.shape:
            raise shape_error("values", values, f"{tuple(patterns.shape)}, as the patterns")
        width = patterns.shape[1]
        if association is not None and association.width != width:
            raise shape_error("patterns", patterns, f"(N, {association.width}), the association's width")
        self.association = Hopfield(width) if association is None else association
        for name, rows in (("patterns", patterns), ("values", values)):
            kept = None if rows is None else rows.detach().clone()
            if trainable:
                self.register_parameter(name, None if kept is None else nn.Parameter(kept))
            else:
                self.register_buffer(name, kept)

    def forward(self, state: Tensor) -> Tensor:
        """Shapes: (..., D) to (..., D)."""
        if state.ndim < 1 or state.shape[-1] != self.association.width:
            raise shape_error("state", state, f"(..., {self.association.width}), as wide as the stored patterns")
        rows = state.reshape(1, -1, state.shape[-1])
        patterns, values = (None if kept is None else kept.unsqueeze(0) for kept in (self.patterns, self.values))
        found: Tensor = self.association(rows, patterns, values=values)
        return found.reshape(state.shape)


def _energy(queries: Tensor, keys: Tensor, scores: Tensor, beta: Tensor, mask: Tensor | None) -> Tensor:
    """E of each state; a pattern that is not real counts for nothing. Shape (B, A, S)."""
    if not keys.numel():
        return 0.5 * queries.square().sum(-1)
    norms = keys.square().sum(-1)  # (B, A, N)
    beta = beta.squeeze(-1)
    if mask is None:
        count = torch.tensor(float(keys.shape[2])).to(queries)
    else:
        scores = scores.masked_fill(~mask, -math.inf)
        norms = norms.masked_fill(~mask[:, :, 0], 0.0)
        count = mask.sum(-1).to(queries)
    # Scaled before the sum, which takes the largest score out first.
    potential = (torch.logsumexp(beta.unsqueeze(-1) * scores, dim=-1) - count.log()) / beta
    potential = torch.where(count > 0, potential, 0.0)
    return 0.5 * queries.square().sum(-1) + 0.5 * norms.amax(-1, keepdim=True) - potential


def _weights(scores: Tensor, mask: Tensor | None) -> Tensor:
    """Softmax over real patterns; zeros for a state that has none. Shape (B, A, S, N)."""
    if mask is None:
        return torch.softmax(scores, dim=-1)
    found = torch.softmax(scores.masked_fill(~mask, -math.inf), dim=-1)
    return found.masked_fill(~mask.any(-1, keepdim=True), 0.0)


def _check_states(state: Tensor, stored: Tensor, values: Tensor | None, width: int) -> None:
    for name, given in (("state", state), ("stored", stored), ("values", values)):
        if given is not None:
            check_tensor(given, name=name)
    if state.ndim != 3 or state.shape[2] != width:
        raise shape_error("state", state, f"(B, S, {width})", hint="Use state.unsqueeze(0) for a batch of one.")
    if stored.ndim != 3 or stored.shape[2] != width or len(stored) not in (1, len(state)):
        expected = f"({len(state)}, N, {width}), a set of patterns for each state, or (1, N, {width})"
        raise shape_error("stored", stored, expected)
    if values is not None and values.shape != stored.shape:
        raise shape_error("values", values, f"{tuple(stored.shape)}, as the patterns")


def _betas(beta: float | Sequence[float] | None, head_width: int, heads: int) -> list[float]:
    """One inverse temperature for each head."""
    if beta is None:
        return [1 / math.sqrt(head_width)] * heads
    betas = list(beta) if isinstance(beta, Sequence) else [beta] * heads
    if len(betas) != heads:
        raise TriptychError(field="beta", value=betas, expected=f"one number, or {heads}, one for each head")
    for each in betas:
        check_beta(each)
    return betas
