"""Decoding: from a model's next-symbol probabilities to whole targets. NumPy alone; start at `decode`.

A model is anything with the step contract (`contract.StepModel`): PyTorch networks through `triptych.spell.adapter`,
exported graphs through `triptych.runtime.network`, several models through `Ensemble`, a model held to a word list
through `Constrained`. `speller.Speller` puts vocabularies, batches and a dictionary around it.
"""

from triptych.decoding.beam import beam_search
from triptych.decoding.constrained import Constrained
from triptych.decoding.contract import Hypothesis, Sources, State, StepModel
from triptych.decoding.dictionary import Dictionary
from triptych.decoding.ensemble import Ensemble
from triptych.decoding.greedy import greedy
from triptych.decoding.sampling import sample
from triptych.decoding.speller import Speller, decode
from triptych.decoding.trie import Lexicon

__all__ = [
    "Constrained",
    "Dictionary",
    "Ensemble",
    "Hypothesis",
    "Lexicon",
    "Sources",
    "Speller",
    "State",
    "StepModel",
    "beam_search",
    "decode",
    "greedy",
    "sample",
]
