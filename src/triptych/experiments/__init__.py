"""Experiments on memories: how many patterns they hold, how much noise they bear, what lies between the patterns.

Each module has one function, from numbers to a result that knows its rows; what is random comes from seeds.
"""
