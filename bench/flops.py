"""Floating-point operations of a causal language model's training, counted from its architecture.

Counted are the multiplications and additions of matrix products, as is customary; a product of [a, b] and [b, c] is
2abc. A decoder's layer (BLOOM's: heads that share the width h, an inner width of 4h) has 12 h^2 parameters in matrices:
3 h^2 for queries, keys and values, h^2 for the attention's output, 8 h^2 for the feed-forward part. Embeddings are
looked up, not multiplied.

**Model FLOPs** are what the objective needs, whatever is computed. Of a sequence of n tokens without padding, m of
whose positions predict a labelled token, forward, with L layers and V words:

- matrices: 2 * 12 h^2 * n for each layer but the last; of that, keys and values alone are needed everywhere, the rest
  where something is predicted: 2 * 2 h^2 * n + 2 * 10 h^2 * m;
- attention (scores, and sums weighted by them): 4 h for each pair of a position and one that it sees, itself and those
  before it: n(n + 1)/2 pairs a layer, of the last one only those of the m positions;
- logits: 2 h V * m.

Padding, logits and attention that nothing depends on are therefore no work: to compute them lowers the share of the
peak.

**Hardware FLOPs** are what is computed, for a batch of B sequences padded to S: matrices at all B S positions (or
at those that are no padding; in the last layer, behind its attention, at the m alone), the whole square B S^2 of pairs
in every layer, and logits at all B S positions (or at the m). What a kernel computes again in its backward pass is left
out.

A backward pass costs twice its forward pass, so that training has three times the FLOPs of the latter.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.workload import Recipe

TRAINING = 3
"""Training's FLOPs over those of its forward pass."""

DRAWS = 20
"""Random orders over which the padding of batches is averaged."""

KEYS_VALUES, QUERIES, OUTPUT, FEED_FORWARD = 2, 1, 1, 8
LAYER = KEYS_VALUES + QUERIES + OUTPUT + FEED_FORWARD
"""Parameters in a layer's matrices, over the square of its width."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """An architecture: `layers` of `hidden` width with `heads`, and logits over `vocab` words."""

    layers: int
    hidden: int
    heads: int
    vocab: int

    @classmethod
    def of_bloom(cls, config: Mapping[str, Any]) -> Shape:
        """From the arguments of `transformers.BloomConfig`, all four given."""
        return cls(
            layers=config["n_layer"], hidden=config["hidden_size"], heads=config["n_head"], vocab=config["vocab_size"]
        )

    @property
    def parameters(self) -> int:
        """All of a BLOOM's: matrices with their biases, two norms a layer and two beside them, and embeddings, which
        the head shares."""
        h = self.hidden
        biases, norms = 9 * h, 4 * h
        return self.vocab * h + self.layers * (LAYER * h * h + biases + norms) + 4 * h

    def matrices(self, squares: float, positions: float) -> float:
        """Forward, through matrices of `squares` times the width's square parameters, at so many positions."""
        return 2.0 * squares * self.hidden**2 * positions

    def attention(self, pairs: float) -> float:
        """Forward, of one layer."""
        return 4.0 * self.hidden * pairs

    def logits(self, positions: float) -> float:
        """Forward."""
        return 2.0 * self.hidden * self.vocab * positions


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A sequence of `tokens` without padding. `predicting`: positions whose next token is labelled; `seen`: what they
    see, themselves and all before them, added up."""

    tokens: int
    predicting: int
    seen: int

    @classmethod
    def of(cls, labels: Sequence[int], ignored: int) -> Sample:
        """From its labels, of which `ignored` says that there is none."""
        places = [place for place, label in enumerate(labels[1:], 1) if label != ignored]
        return cls(tokens=len(labels), predicting=len(places), seen=sum(places))


def model_flops(shape: Shape, samples: Iterable[Sample]) -> float:
    """Forward FLOPs that the objective needs for these sequences."""
    return sum(_needed(shape, sample) for sample in samples)


def _needed(shape: Shape, sample: Sample) -> float:
    full, n, m = shape.layers - 1, sample.tokens, sample.predicting
    matrices = shape.matrices(full * LAYER + KEYS_VALUES, n) + shape.matrices(LAYER - KEYS_VALUES, m)
    return matrices + shape.attention(full * n * (n + 1) / 2 + sample.seen) + shape.logits(m)


def batch_flops(shape: Shape, batch: Sequence[Sample], recipe: Recipe, max_tokens: int) -> float:
    """Forward FLOPs that a recipe computes for one batch."""
    how = recipe.computation
    length = max_tokens if recipe.padding == "max_length" else max(sample.tokens for sample in batch)
    padded = len(batch) * length
    worked_on = sum(sample.tokens for sample in batch) if how.tokens == "real" else padded
    predicting = sum(sample.predicting for sample in batch)
    behind = OUTPUT + FEED_FORWARD if how.last_block == "labelled" else 0
    return (
        shape.matrices(shape.layers * LAYER - behind, worked_on)
        + shape.matrices(behind, predicting)
        + shape.attention(shape.layers * padded * length)
        + shape.logits(predicting if how.head == "labelled" else padded)
    )


def hardware_flops(
    shape: Shape, samples: Sequence[Sample], recipe: Recipe, *, batch_size: int, max_tokens: int
) -> float:
    """Forward FLOPs that a recipe computes for all sequences once, in batches in a random order: the mean over `DRAWS`
    orders."""
    rng, total = random.Random(0), 0.0
    for _ in range(DRAWS):
        order = rng.sample(samples, len(samples))
        for start in range(0, len(order), batch_size):
            total += batch_flops(shape, order[start : start + batch_size], recipe, max_tokens)
    return total / DRAWS
