"""Associative memory with a stated energy: the mathematics as pure functions on tensors.

Patterns are the rows of X, shape (N, D); states are rows q, shape (B, D); beta is the inverse temperature.

The file list is the subject: `energy` and its `derivatives`; `update` and the general procedure `cccp` behind it;
`retrieval`, the update until nothing moves; `separation`, functions in place of softmax; `kernels`, one bounded pass
over the patterns; `classic` and `dense`, the binary networks before it.

**Arguments that functions share.** A docstring says more only where a function differs.

    patterns    X, stored patterns, one per row. Shape (N, D), N and D >= 1, floating.
    state, cue  q, one per row. Shape (B, D), in the patterns' dtype.
    beta        inverse temperature, finite and > 0; larger means closer to one pattern
    separation  what takes softmax's place
    norm        M, the largest norm of a pattern, where it is known already, which saves one pass. Shape ().
    max_steps   updates at most, >= 1

**Errors that functions share.** ShapeError: shapes, widths or dtypes do not fit, or there are no patterns.
TriptychError: a number breaks its rule, or numbers overflow. DataError: a pattern, value or state is not finite.
"""
