"""Experiments on memories: how many patterns they hold, how much noise they tolerate, what lies between the patterns.

`capacity`, `noise`, `metastable` and `landscape` measure, each from numbers to a result; random draws come from seeds.
`results` turns measurements into tables and figures, `run` keeps them in a run directory. `recall_demo` is the demo,
`patterns` what experiments store.

**Arguments that measurements share.** `patterns`: what is stored, shape (N, D). `separation`: what takes softmax's
place, or several by the names that results carry. `beta`, `betas`: inverse temperatures, > 0. `max_steps`: updates at
most. `success`: cosine to the pattern that counts as recalled when exceeded. Settings that break their rule are a
TriptychError, patterns of another shape a ShapeError.
"""
