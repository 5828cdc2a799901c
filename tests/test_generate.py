"""The embedded data set: SQuAD's layout, and no answer without the passage."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict

import pytest

from bench.generate import FACTS_PER_PASSAGE, TOPICS, generate
from bench.squad import parse_squad, split_by_article
from bench.workload import load_workload


def test_round_trips_through_the_parser_and_splits_by_article() -> None:
    examples = parse_squad(json.dumps(generate(120, 1)).encode(), "generated")
    assert len(examples) == 1200
    assert split_by_article(examples, 1000, 100, 100, 1).sizes == {"train": 1000, "validation": 100, "test": 100}


def test_the_same_seed_gives_the_same_bytes() -> None:
    assert json.dumps(generate(7, 3)) == json.dumps(generate(7, 3)) != json.dumps(generate(7, 4))


def test_a_question_says_nothing_about_its_answer() -> None:
    """Over many passages each question has every value of its topic as its answer, none much more than the others."""
    answers: dict[str, Counter[str]] = defaultdict(Counter)
    for example in parse_squad(json.dumps(generate(2000, 5)).encode(), "generated"):
        answers[example.question][example.answers[0]] += 1
    for question, counts in answers.items():
        assert len(counts) == 8, question
        assert max(counts.values()) < 0.25 * counts.total()


def test_only_the_right_sentence_holds_the_answer() -> None:
    """The answer stands once in its passage, in the sentence of the person asked about."""
    for example in parse_squad(json.dumps(generate(200, 6)).encode(), "generated"):
        sentences = [s for s in example.context.split(".") if example.answers[0] in s]
        assert len(sentences) == 1
        assert any(word in sentences[0].split() for word in example.question.rstrip("?").split())
        assert example.context.count(".") == FACTS_PER_PASSAGE


def test_values_are_the_splits_common_vocabulary() -> None:
    values = [value for _, _, kind in TOPICS for value in kind]
    assert len(values) == len(set(values))
    splits = split_by_article(parse_squad(json.dumps(generate(120, 1)).encode(), "generated"), 1000, 100, 100, 1)
    known = {e.answers[0] for e in splits.train}
    assert {e.answers[0] for e in splits.validation + splits.test} <= known == set(values)


def test_refuses_no_articles() -> None:
    with pytest.raises(ValueError, match="1 or more"):
        generate(0, 1)


def test_passages_of_other_lengths() -> None:
    """Many short ones and a few long ones; the answer still stands once, in the sentence of the person asked about."""
    examples = parse_squad(json.dumps(generate(60, 7, (8, 64))).encode(), "generated")
    counts = [example.context.count(".") for example in examples]
    assert min(counts) >= 8
    assert max(counts) <= 64
    assert sum(count < 22.6 for count in counts) == pytest.approx(len(counts) / 2, rel=0.2), "half are below sqrt(8*64)"
    for example in examples:
        assert len([s for s in example.context.split(".") if example.answers[0] in s.split()]) == 1
    with pytest.raises(ValueError, match="ask for 2 to 200"):
        generate(1, 1, (8, 201))


def test_the_embedded_data_stay_as_they_are() -> None:
    """Curves, records and references were made of these bytes."""
    tiny = load_workload("tiny-squad").data
    made = json.dumps(generate(tiny.generated_articles or 0, tiny.seed, tiny.facts_per_passage)).encode()
    assert hashlib.sha256(made).hexdigest() == "f5e4cce536ddcc4f14183b88576249fe8db6ec1c1c2a75acc3045368541b6f01"
