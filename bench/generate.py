"""The embedded tiny data set: short passages, in SQuAD's layout, from which the answer must be read.

People and values are paired anew at random in every passage, so a question alone says nothing about its answer, and
the values come from pools that all splits share, so every word of the answers is known to the tokenizer.

Passages of other lengths have invented people and values, of whom there are enough: text for measuring speed, with
lengths that spread as SQuAD's do.
"""

from __future__ import annotations

import math
import random
from functools import cache
from typing import Any

QUESTIONS_PER_ARTICLE = 10
QUESTIONS_PER_PASSAGE = 2
FACTS_PER_PASSAGE = 4

PEOPLE = (
    "Ada", "Ben", "Cleo", "Dina", "Emil", "Fay", "Gus", "Hana",
    "Ivo", "Jana", "Kai", "Lena", "Milo", "Nora", "Otto", "Pia",
)  # fmt: skip

TOPICS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("{} lives in {}.", "Where does {} live?",
     ("Bern", "Cairo", "Delhi", "Lima", "Oslo", "Paris", "Quito", "Rome")),
    ("{} works as {}.", "What does {} work as?",
     ("baker", "cook", "guide", "judge", "nurse", "pilot", "tailor", "writer")),
    ("{} eats {}.", "What does {} eat?",
     ("apples", "beans", "bread", "cheese", "figs", "plums", "rice", "soup")),
    ("{} keeps {}.", "What does {} keep?",
     ("bees", "cats", "dogs", "ducks", "geese", "goats", "hens", "sheep")),
)  # fmt: skip
"""Sentence, question and values of each topic; no value belongs to two, and none is part of another word here."""


FACTS = (FACTS_PER_PASSAGE, FACTS_PER_PASSAGE)
INVENTED = 400
"""Invented people; as many values."""


def generate(articles: int, seed: int, facts: tuple[int, int] = FACTS) -> dict[str, Any]:
    """`articles` articles of ten questions each, as the content of a file in SQuAD's JSON. `facts`: so many in a
    passage, from and to, as many of half as of twice the length; raises ValueError where that cannot be."""
    if articles < 1:
        raise ValueError(f"{articles} articles were asked for: ask for 1 or more")
    if not QUESTIONS_PER_PASSAGE <= facts[0] <= facts[1] <= INVENTED // 2:
        raise ValueError(f"{facts} facts a passage were asked for: ask for {QUESTIONS_PER_PASSAGE} to {INVENTED // 2}")
    rng = random.Random(seed)
    return {"version": "1.1", "data": [_article(number, rng, facts) for number in range(articles)]}


def _article(number: int, rng: random.Random, facts: tuple[int, int]) -> dict[str, Any]:
    passages = range(QUESTIONS_PER_ARTICLE // QUESTIONS_PER_PASSAGE)
    return {"title": f"Village {number}", "paragraphs": [_paragraph(f"{number}-{p}", rng, facts) for p in passages]}


def _paragraph(name: str, rng: random.Random, between: tuple[int, int]) -> dict[str, Any]:
    facts = _facts(rng) if between == FACTS else _invented_facts(rng, between)
    context = " ".join(TOPICS[topic][0].format(person, value) for person, topic, value in facts)
    qas = [
        {
            "id": f"{name}-{number}",
            "question": TOPICS[topic][1].format(person),
            "answers": [{"text": value, "answer_start": context.index(value)}],
        }
        for number, (person, topic, value) in enumerate(rng.sample(facts, QUESTIONS_PER_PASSAGE))
    ]
    return {"context": context, "qas": qas}


def _facts(rng: random.Random) -> list[tuple[str, int, str]]:
    """Person, topic and value of each sentence of a passage; no person and no value twice.

    Half of the passages have every topic once: the answer is the only value of its kind, which a small model learns to
    read. The others repeat a topic, and there the right person must be found as well, which it hardly learns: so the
    loss stays away from nought, where hyperparameters would make no difference.
    """
    topics = list(range(len(TOPICS)))
    if rng.random() < 0.5:
        repeated, dropped = rng.sample(topics, 2)
        topics[dropped] = repeated
    rng.shuffle(topics)
    people = rng.sample(PEOPLE, FACTS_PER_PASSAGE)
    values = [rng.sample(kind, len(kind)) for _, _, kind in TOPICS]
    return [(person, topic, values[topic].pop()) for person, topic in zip(people, topics, strict=True)]


def _invented_facts(rng: random.Random, between: tuple[int, int]) -> list[tuple[str, int, str]]:
    """The same with invented people and values, of random topics. The number of facts is uniform in its logarithm:
    many short passages and a few long ones."""
    people, values = _invented()
    count = round(math.exp(rng.uniform(*map(math.log, between))))
    told = zip(rng.sample(people, count), rng.sample(values, count), strict=True)
    return [(person, rng.randrange(len(TOPICS)), value) for person, value in told]


@cache
def _invented() -> tuple[list[str], list[str]]:
    """People and values: words of five letters, of which none is part of another word of a passage."""
    rng = random.Random("invented words")
    consonants, vowels = "bcdfghjklmnpqrstvwxyz", "aeiou"
    known: set[str] = set()
    while len(known) < 2 * INVENTED:
        known.add("".join(rng.choice(consonants if place % 2 == 0 else vowels) for place in range(5)))
    words = sorted(known - {"lives"})
    rng.shuffle(words)
    return [word.capitalize() for word in words[:INVENTED]], words[INVENTED:]
