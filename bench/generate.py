"""The embedded tiny data set: short passages, in SQuAD's layout, from which the answer must be read.

People and values are paired anew at random in every passage, so a question alone says nothing about its answer, and
the values come from pools that all splits share, so every word of the answers is known to the tokenizer.
"""

from __future__ import annotations

import random
from typing import Any

QUESTIONS_PER_ARTICLE = 10
FACTS_PER_PASSAGE = 4
QUESTIONS_PER_PASSAGE = 2

PEOPLE = (
    "Ada", "Ben", "Cleo", "Dina", "Emil", "Fay", "Gus", "Hana", "Ivo", "Jana", "Kai", "Lena", "Milo", "Nora", "Otto", "Pia",
)  # fmt: skip

TOPICS: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
    ("Homes", "{} lives in {}.", "Where does {} live?",
     ("Bern", "Cairo", "Delhi", "Lima", "Oslo", "Paris", "Quito", "Rome")),
    ("Trades", "{} works as {}.", "What does {} work as?",
     ("baker", "cook", "guide", "judge", "nurse", "pilot", "tailor", "writer")),
    ("Meals", "{} eats {}.", "What does {} eat?",
     ("apples", "beans", "bread", "cheese", "figs", "plums", "rice", "soup")),
    ("Pets", "{} keeps {}.", "What does {} keep?",
     ("bees", "cats", "dogs", "ducks", "geese", "goats", "hens", "sheep")),
)  # fmt: skip
"""Title, sentence, question and values of each topic."""


def generate(articles: int, seed: int) -> dict[str, Any]:
    """`articles` articles of ten questions each, as the content of a file in SQuAD's JSON."""
    if articles < 1:
        raise ValueError(f"{articles} articles were asked for: ask for 1 or more")
    rng = random.Random(seed)
    return {"version": "1.1", "data": [_article(number, rng) for number in range(articles)]}


def _article(number: int, rng: random.Random) -> dict[str, Any]:
    title, sentence, question, values = TOPICS[number % len(TOPICS)]
    paragraphs = []
    for p in range(QUESTIONS_PER_ARTICLE // QUESTIONS_PER_PASSAGE):
        people = rng.sample(PEOPLE, FACTS_PER_PASSAGE)
        chosen = rng.sample(values, FACTS_PER_PASSAGE)
        context = " ".join(sentence.format(who, what) for who, what in zip(people, chosen, strict=True))
        asked = rng.sample(range(FACTS_PER_PASSAGE), QUESTIONS_PER_PASSAGE)
        qas = [
            {
                "id": f"{number}-{p}-{q}",
                "question": question.format(people[i]),
                "answers": [{"text": chosen[i], "answer_start": context.index(chosen[i])}],
            }
            for q, i in enumerate(asked)
        ]
        paragraphs.append({"context": context, "qas": qas})
    return {"title": f"{title} {number}", "paragraphs": paragraphs}
