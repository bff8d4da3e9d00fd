"""Experiments on memories: how many patterns they hold, how much noise they tolerate, what lies between the patterns.

`capacity`, `noise`, `metastable` and `landscape` measure, each from numbers to a result; random draws come from seeds.
`results` turns measurements into tables and figures, `run` keeps them in a run directory. `recall_demo` is the demo,
`patterns` what experiments store.
"""
