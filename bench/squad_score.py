"""SQuAD's own scores: exact match and F1, after Rajpurkar et al. 2016 (arXiv 1606.05250) and its evaluation script."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalise(text: str) -> str:
    """Lower case, without ASCII punctuation, without the articles a, an and the, single spaces."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(prediction: str, answers: Sequence[str]) -> bool:
    """Whether the prediction equals any gold answer after normalisation."""
    return any(normalise(prediction) == normalise(answer) for answer in answers)


def f1(prediction: str, answers: Sequence[str]) -> float:
    """The best F1, 0 to 1, over the gold answers, of the multisets of normalised words."""
    return max(_f1(normalise(prediction).split(), normalise(answer).split()) for answer in answers)


def _f1(prediction: list[str], answer: list[str]) -> float:
    shared = (Counter(prediction) & Counter(answer)).total()
    if shared == 0:
        return 0.0
    precision, recall = shared / len(prediction), shared / len(answer)
    return 2 * precision * recall / (precision + recall)


def score(predictions: Sequence[str], answers: Sequence[Sequence[str]]) -> tuple[float, float]:
    """Exact match and F1 in per cent, means over all questions. Raises ValueError where the lengths differ."""
    if len(predictions) != len(answers) or not predictions:
        raise ValueError(
            f"{len(predictions)} predictions for {len(answers)} questions: give one for each, and one at least"
        )
    count = len(predictions)
    exact = sum(exact_match(p, a) for p, a in zip(predictions, answers, strict=True))
    overlap = sum(f1(p, a) for p, a in zip(predictions, answers, strict=True))
    return 100.0 * exact / count, 100.0 * overlap / count
