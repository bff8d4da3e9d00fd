"""Associative memory with a stated energy: the mathematics as pure functions on tensors.

Patterns are the rows of X, shape (N, D); states are rows q, shape (B, D); beta is the inverse temperature.

The file list is the subject: `energy` and its `derivatives`; `update` and the general procedure `cccp` behind it;
`retrieval`, the update until nothing moves; `separation`, functions in place of softmax; `kernels`, one bounded pass
over the patterns; `classic` and `dense`, the binary networks before it.
"""
