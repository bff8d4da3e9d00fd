"""Attention over stored patterns in one pass and bounded memory: the weighted average and the potential of the energy.

Softmax goes through PyTorch's fused attention kernels. Those that also return the log-sum-exp of each row are private
operators, so each is tried once per device and dtype on a small problem, and is used only where it gives what the plain
formula gives; otherwise a loop over blocks of patterns does the same work. They split their work over queries, so a few
queries are faster as two plain products. Other separation functions take all scores of a block of states at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from functools import cache

import torch
from torch import Tensor

from triptych.recall.separation import Separation, Softmax, potential

# Scores held at once: 8 MiB in float32, small beside a store and large enough for the matrix products.
SCORES_AT_ONCE = 1 << 21
_ROWS_AT_ONCE = 1024
_FEW_QUERIES = 4
_NARROW = 128  # the fused kernels' second product costs less here than a loop of our own
_COPIES = 4  # of the scores that a separation function and its potential hold

_Fused = Callable[[Tensor, Tensor, Tensor, float], tuple[Tensor, Tensor]]


def average(
    keys: Tensor, queries: Tensor, *, beta: float, separation: Separation, values: Tensor | None = None
) -> Tensor:
    """The average of values, or else of the keys X, with the weights y(beta X q).

    Shapes: keys (N, D), N >= 1, queries (B, D), values (N, V), result (B, V).
    """
    values = keys if values is None else values
    if not isinstance(separation, Softmax):
        return _in_blocks_of_states(keys, values, queries, beta, separation, with_potential=False)[0]
    if _needs_gradient(keys, values, queries):
        return _attention(keys, values, queries, beta)
    if _few(queries, keys):
        return torch.mm(torch.softmax(torch.mm(queries, keys.T).mul_(beta), 1), values)
    return softmax_pass(keys, values, queries, beta)[0]


def average_and_potential(
    keys: Tensor, queries: Tensor, *, beta: float, separation: Separation, norm: Tensor
) -> tuple[Tensor, Tensor]:
    """The average (B, D) of the keys and the potential (Omega*(beta X q) + Omega(1/N)) / beta (B,), in one pass.

    For softmax the potential is log(mean exp(beta X q)) / beta. The norm is the largest of a pattern, () or (B,):
    from it follows where the potential needs care.
    """
    if not isinstance(separation, Softmax):
        return _in_blocks_of_states(keys, keys, queries, beta, separation, with_potential=True)
    if _needs_gradient(keys, queries):
        return _attention(keys, keys, queries, beta), log_mean_exp(queries @ keys.T, beta=beta)
    averaged, log_sum = softmax_pass(keys, keys, queries, beta)
    return averaged, _from_log_sum(keys, queries, log_sum, beta, norm)


def potential_alone(keys: Tensor, queries: Tensor, *, beta: float, separation: Separation, norm: Tensor) -> Tensor:
    """The potential of `average_and_potential` by itself, by one matrix product where patterns are wide. Shape (B,)."""
    if not isinstance(separation, Softmax):
        nothing = keys[:, :0]
        return _in_blocks_of_states(keys, nothing, queries, beta, separation, with_potential=True)[1]
    if _needs_gradient(keys, queries):
        return log_mean_exp(queries @ keys.T, beta=beta)
    if keys.shape[1] <= _NARROW:
        log_sum = softmax_pass(keys, keys, queries, beta)[1]
    else:
        log_sum = _in_blocks_of_patterns(keys, None, queries, beta)[1]
    return _from_log_sum(keys, queries, log_sum, beta, norm)


def log_mean_exp(scores: Tensor, *, beta: float) -> Tensor:
    """log(mean exp(beta z)) / beta, which is lse(beta, z) - log(N) / beta without that difference. (..., N) to (...).

    Where every |beta z| <= 1/4 the logarithm is taken of 1 + mean(exp(beta z) - 1), so that no digits are lost however
    small beta is; elsewhere the largest score is taken out first, so that nothing overflows however large it is.

    Checked by tests/recall/test_energy.py, against 60-digit arithmetic.
    """
    small = beta * scores.detach().abs().amax(-1) <= 0.25
    largest = scores.detach().amax(-1)
    largest = torch.where(largest.isfinite(), largest, 0.0)
    flat = torch.log1p(torch.expm1(beta * scores.masked_fill(~small.unsqueeze(-1), 0)).mean(-1)) / beta
    shifted = largest + torch.log(torch.exp(beta * (scores - largest.unsqueeze(-1))).mean(-1)) / beta
    return torch.where(small, flat, shifted)


def blocks(count: int, size: int) -> Iterator[slice]:
    """Slices of at most `size` that cover `count` things in order."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def finite_weights(separation: Separation, scores: Tensor) -> Tensor:
    """The weights of each row of scores, NaN for a row that is not finite. Shapes: (B, N) to (B, N).

    Sparse functions sort and search; a score that is not a number makes them fail, or makes its row seem valid.
    """
    bad = ~torch.isfinite(scores).all(1)
    if not bool(bad.any()):
        return separation.weights(scores)
    return separation.weights(scores.masked_fill(bad.unsqueeze(1), 0.0)).masked_fill(bad.unsqueeze(1), math.nan)


def _needs_gradient(*tensors: Tensor) -> bool:
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)


def _attention(keys: Tensor, values: Tensor, queries: Tensor, beta: float) -> Tensor:
    """PyTorch's public attention, which has gradients."""
    heads = (queries[None, None], keys[None, None], values[None, None])
    return torch.nn.functional.scaled_dot_product_attention(*heads, scale=beta)[0, 0]


def softmax_pass(keys: Tensor, values: Tensor, queries: Tensor, beta: float) -> tuple[Tensor, Tensor]:
    """Average (B, V) and log sum exp(beta X q) (B,), without gradients, by whatever is fastest for these shapes."""
    if _few(queries, keys):
        return _all_at_once(keys, values, queries, beta)
    if keys.shape[1] == values.shape[1] and queries.shape[0]:  # the kernels divide by the number of queries
        fused = _fused_kernel(keys.device.type, keys.dtype, keys.shape[1] % 8 == 0)
        if fused is not None:
            return fused(keys, values, queries, beta)
    return _in_blocks_of_patterns(keys, values, queries, beta)


def _few(queries: Tensor, keys: Tensor) -> bool:
    return 0 < queries.shape[0] <= _FEW_QUERIES and queries.shape[0] * keys.shape[0] <= SCORES_AT_ONCE


def _all_at_once(keys: Tensor, values: Tensor, queries: Tensor, beta: float) -> tuple[Tensor, Tensor]:
    """The plain formula, with as few operations as possible."""
    scores = torch.mm(queries, keys.T).mul_(beta)  # (B, N)
    largest = scores.amax(1, keepdim=True)
    weights = scores.sub_(largest).exp_()
    total = weights.sum(1, keepdim=True)
    return torch.mm(weights, values).div_(total), largest.add_(total.log_()).squeeze(1)


@cache
def _fused_kernel(device: str, dtype: torch.dtype, aligned: bool) -> _Fused | None:
    """The kernel for a device and dtype, or None where there is none or it does not give what the formula gives."""
    fused = {"cpu": _fused_on_cpu, "cuda": _fused_on_cuda}.get(device)
    if fused is None:
        return None
    generator = torch.Generator().manual_seed(0)
    width = 16 if aligned else 5
    keys = torch.randn(70, width, generator=generator).to(device, dtype)
    queries = torch.randn(35, width, generator=generator).to(device, dtype)
    with torch.no_grad():
        scores = 0.3 * queries.double() @ keys.double().T
        try:
            averaged, log_sum = fused(keys, keys, queries, 0.3)
        except (RuntimeError, AttributeError, TypeError, IndexError):  # another version, or an unsupported dtype
            return None
        tolerance = 100 * torch.finfo(dtype).eps
        expected = scores.softmax(1) @ keys.double()
        fits = (
            log_sum.shape == (35,)
            and torch.allclose(averaged.double(), expected, rtol=0, atol=tolerance)
            and torch.allclose(log_sum.double(), scores.logsumexp(1), rtol=0, atol=tolerance)
        )
    return fused if fits else None


def row_major(rows: Tensor) -> Tensor:
    """The same rows as the fused kernels read them; a tensor that fits is returned as it is.

    The one of the CPU takes any stride from row to row, but reads columns as if they were adjacent, without a check.
    Columns of `X.T`, `X[:, ::2]`, `numpy.asfortranarray(X)` and expanded rows are not. That of CUDA also reads several
    numbers at once, from addresses that it takes to be multiples of 16 bytes, which `X[:, 1:]` does not have.
    """
    if not rows.is_cuda:
        return rows if rows.stride(-1) == 1 else rows.contiguous()
    fits = rows.is_contiguous() and rows.data_ptr() % 16 == 0
    return rows if fits else rows.clone(memory_format=torch.contiguous_format)


def _fused_on_cpu(keys: Tensor, values: Tensor, queries: Tensor, beta: float) -> tuple[Tensor, Tensor]:
    keys, values, queries = (row_major(rows)[None, None] for rows in (keys, values, queries))
    averaged, log_sum = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(queries, keys, values, scale=beta)
    return averaged[0, 0], log_sum[0, 0]


def _fused_on_cuda(keys: Tensor, values: Tensor, queries: Tensor, beta: float) -> tuple[Tensor, Tensor]:
    count = len(queries)
    keys, values, queries = (row_major(rows)[None, None] for rows in (keys, values, queries))
    averaged, log_sum, *_ = torch.ops.aten._scaled_dot_product_efficient_attention(
        queries, keys, values, None, True, scale=beta
    )
    return averaged[0, 0], log_sum[0, 0, :count]  # the kernel pads the rows


def _in_blocks_of_patterns(keys: Tensor, values: Tensor | None, queries: Tensor, beta: float) -> tuple[Tensor, Tensor]:
    """Average (B, V) and log sum exp(beta X q) (B,) with a running maximum, at most SCORES_AT_ONCE scores at a time.

    Without values only the second is computed, and the first is empty, shape (B, 0).

    Source: Milakov and Gimelshein 2018, arXiv:1805.02867, algorithm 3.
    """
    width = 0 if values is None else values.shape[1]
    averaged, log_sum = queries.new_empty(len(queries), width), queries.new_empty(len(queries))
    for rows in blocks(len(queries), _ROWS_AT_ONCE):
        some = queries[rows]
        largest = some.new_full((len(some),), -math.inf)
        total, votes = some.new_zeros(len(some)), some.new_zeros(len(some), width)
        for columns in blocks(len(keys), max(1, SCORES_AT_ONCE // len(some))):
            scores = (some @ keys[columns].T).mul_(beta)  # (rows, columns)
            new_largest = torch.maximum(largest, scores.amax(1))
            scores.sub_(new_largest.unsqueeze(1)).exp_()
            shrink = torch.exp(largest - new_largest)
            total = total * shrink + scores.sum(1)
            if values is not None:
                votes = votes.mul_(shrink.unsqueeze(1)).addmm_(scores, values[columns])
            largest = new_largest
        averaged[rows] = votes / total.unsqueeze(1)
        log_sum[rows] = largest + total.log()
    return averaged, log_sum


def _from_log_sum(keys: Tensor, queries: Tensor, log_sum: Tensor, beta: float, norm: Tensor) -> Tensor:
    """(log_sum - log N) / beta, computed again for rows where that difference would show in the energy.

    Its rounding error is about eps log(N) / beta, and the energy's own scale is (q·q + M²) / 2: rows where the first is
    more than a few eps of the second, and whose sum is near N, are few unless beta is tiny.
    """
    count = math.log(len(keys))
    scale = beta * (queries.square().sum(1) + norm.square())
    careful = ((log_sum - count).abs() <= 0.25) & (scale < count / 4)
    found = ((log_sum - count) / beta).to(queries.dtype)
    if bool(careful.any()):
        found[careful] = flat_potential([keys], queries[careful], beta)
    return found


def flat_potential(keys: Iterable[Tensor], queries: Tensor, beta: float) -> Tensor:
    """log(1 + mean(exp(beta X q) - 1)) / beta for blocks of keys whose exponentials average to about one. (B,)"""
    exact = torch.float64 if queries.device.type == "cpu" else queries.dtype
    excess, count = queries.new_zeros(len(queries), dtype=exact), 0
    for block in keys:
        for rows in blocks(len(block), max(1, SCORES_AT_ONCE // max(1, len(queries)))):
            excess += (queries @ block[rows].T).mul_(beta).expm1_().sum(1)
        count += len(block)
    return (torch.log1p(excess / count) / beta).to(queries.dtype)


def _in_blocks_of_states(
    keys: Tensor, values: Tensor, queries: Tensor, beta: float, separation: Separation, *, with_potential: bool
) -> tuple[Tensor, Tensor]:
    """Average (B, V) and potential (B,) for any separation function, all scores of some states at a time.

    The potential costs more than the average, and is empty, shape (0,), where it is not wanted.
    """
    averaged, found = [queries.new_empty(0, values.shape[1])], [queries.new_empty(0)]
    for rows in blocks(len(queries), max(1, SCORES_AT_ONCE // (_COPIES * len(keys)))):
        scores = beta * (queries[rows] @ keys.T)
        weights = finite_weights(separation, scores)
        averaged.append(weights @ values)
        if with_potential:
            found.append(potential(separation, scores, weights) / beta)
    return torch.cat(averaged), torch.cat(found)
