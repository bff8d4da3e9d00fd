"""Training objective of a transducer, and its evaluation after each epoch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from triptych.config import SpellDecoding
from triptych.decoding import Sources, greedy
from triptych.spell.adapter import TorchModel
from triptych.spell.batches import PairBatch, hide_copied
from triptych.spell.build import Network
from triptych.spell.corpus import Item
from triptych.spell.metrics import nearest_reference
from triptych.text import copying
from triptych.text.symbols import Vocabularies, Vocabulary
from triptych.training.objective import Share


class SpellObjective:
    """Cross-entropy of the target symbols under teacher forcing; error rates of greedy decoding.

    Args:
        network: the transducer.
        vocabularies: from symbols to texts.
        valid_items: validation items, in the order of the validation data set.
        decoding: limits of the length of what is decoded.
        label_smoothing: share of the target probability that is spread over all symbols, in [0, 1).
        hidden: of a network that copies, the share of each source's symbols that training hides, in [0, 1).
    """

    def __init__(
        self,
        network: Network,
        *,
        vocabularies: Vocabularies,
        valid_items: Sequence[Item],
        decoding: SpellDecoding,
        label_smoothing: float = 0.0,
        hidden: float = 0.0,
    ) -> None:
        self.network = network
        self.vocabularies = vocabularies
        written = vocabularies.target_tokenizer.written
        self.references = [tuple(written(reference) for reference in item.references) for item in valid_items]
        self.sources = [item.source for item in valid_items]
        self.decoding = decoding
        self.label_smoothing = label_smoothing
        self.hidden = hidden

    def loss(self, batch: PairBatch) -> Share:
        """Sum of the cross-entropies in nats, and the number of target symbols, end symbols included."""
        if self.network.training:
            batch = hide_copied(batch, self.hidden, len(self.vocabularies.targets))
        return self._cross_entropy(batch, self.label_smoothing)

    def measure(self, batch: PairBatch) -> dict[str, Share]:
        """`loss` against the first reference, `cer`, `wer` and `mean_error` against the nearest."""
        source = batch.source
        features, ids = (None if part is None else part.cpu().numpy() for part in (source.features, source.copy_ids))
        sources = Sources(source.symbols.cpu().numpy(), source.lengths.numpy(), batch.items, features, ids)
        decoded = greedy(TorchModel(self.network, source.symbols.device), sources, self.decoding)
        targets, written = self.vocabularies.targets, self.vocabularies.target_tokenizer.written
        edits, lengths, wrong, errors = 0, 0, 0, 0.0
        for item, (hypothesis,) in zip(batch.items, decoded, strict=True):
            symbols = copying.written(hypothesis.symbols, self.sources[item], targets)
            prediction = written(symbols)
            near = nearest_reference(prediction, self.references[item])
            edits += near.edits
            lengths += len(near.reference)
            wrong += near.edits > 0
            errors += near.edits / len(near.reference)
        count = len(decoded)
        return {
            "loss": self._cross_entropy(batch, 0.0),
            "cer": Share(edits, lengths),
            "wer": Share(wrong, count),
            "mean_error": Share(errors, count),
        }

    def _cross_entropy(self, batch: PairBatch, smoothing: float) -> Share:
        logits = self.network(batch.source, batch.fed)  # (B, T, V), with copying (B, T, V + S)
        count = torch.count_nonzero(batch.expected != Vocabulary.pad)
        if smoothing and logits.shape[2] > len(self.vocabularies.targets):
            return Share(self._smoothed(logits.float().log_softmax(-1), batch.expected, smoothing), count)
        total = F.cross_entropy(
            logits.flatten(0, 1).float(),
            batch.expected.flatten(),
            ignore_index=Vocabulary.pad,
            reduction="sum",
            label_smoothing=smoothing,
        )
        return Share(total, count)

    def _smoothed(self, log_probs: Tensor, expected: Tensor, smoothing: float) -> Tensor:
        """The same with the smoothed share spread over the vocabulary, and not over symbols that no row can copy."""
        nll = F.nll_loss(log_probs.flatten(0, 1), expected.flatten(), ignore_index=Vocabulary.pad, reduction="sum")
        spread = -log_probs[..., : len(self.vocabularies.targets)].mean(-1)[expected != Vocabulary.pad].sum()
        return (1 - smoothing) * nll + smoothing * spread
