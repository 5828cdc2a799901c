"""SQuAD's JSON: what is read, what is refused and with which words, and splits that share no article."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.errors import UserError
from bench.squad import MAX_FILE_MIB, Example, parse_squad, read_bytes, split_by_article


def document() -> dict[str, Any]:
    """Two articles, the first untitled, the second with a question that has two gold answers."""
    return {
        "data": [
            {"paragraphs": [{"context": "Ada lives in Oslo.", "qas": [qa("1", "Oslo", 13)]}]},
            {
                "title": "B",
                "paragraphs": [
                    {"context": "Ben eats ripe figs.", "qas": [qa("2", "figs", 14, "ripe figs", 9), qa("3", "Ben", 0)]}
                ],
            },
        ]
    }


def qa(name: str, *answers: Any) -> dict[str, Any]:
    pairs = zip(answers[::2], answers[1::2], strict=True)
    return {"id": name, "question": "What?", "answers": [{"text": text, "answer_start": at} for text, at in pairs]}


def parse(value: Any) -> list[Example]:
    return parse_squad(json.dumps(value).encode(), "data.json")


def test_reads_every_question_and_all_its_answers(tmp_path: Path) -> None:
    path = tmp_path / "data.json"
    path.write_text(json.dumps(document()), encoding="utf-8")
    examples = parse_squad(read_bytes(path), path.name)
    assert [e.id for e in examples] == ["1", "2", "3"]
    assert examples[1].answers == ("figs", "ripe figs")
    assert examples[0].article != examples[1].article == examples[2].article


def test_articles_with_the_same_title_or_none_stay_apart() -> None:
    value = document()
    value["data"][0]["title"] = "B"
    assert len({e.article for e in parse(value)}) == 2


def break_at(value: dict[str, Any], path: list[Any], replacement: Any) -> dict[str, Any]:
    holder: Any = value
    for step in path[:-1]:
        holder = holder[step]
    holder[path[-1]] = replacement
    return value


QA = ["data", 1, "paragraphs", 0, "qas", 1]


@pytest.mark.parametrize(
    ("path", "replacement", "named"),
    [
        (["data"], {}, "data: expected a list, found an object"),
        (["data", 1], 7, "data[1]: expected an object, found a number"),
        (["data", 0, "paragraphs"], None, "data[0].paragraphs: expected a list, found nothing"),
        (["data", 0, "paragraphs", 0, "context"], "", "data[0].paragraphs[0].context: expected text"),
        ([*QA, "id"], "2", "data[1].paragraphs[0].qas[1].id: expected an id that is not used twice"),
        ([*QA, "question"], True, "data[1].paragraphs[0].qas[1].question: expected text, found true or false"),
        ([*QA, "question"], "\ud800", "half of a surrogate pair"),
        ([*QA, "answers"], [], "data[1].paragraphs[0].qas[1].answers: expected one answer or more"),
        ([*QA, "answers"], ["x"], "data[1].paragraphs[0].qas[1].answers[0]: expected an object, found text"),
        ([*QA, "answers", 0, "answer_start"], "0", "answers[0].answer_start: expected a number"),
        ([*QA, "answers", 0, "answer_start"], 4, "answers[0]: expected an answer that stands in the context at 4"),
        ([*QA, "answers", 0, "answer_start"], -3, "answers[0]: expected an answer that stands in the context at -3"),
    ],
)
def test_names_the_place_that_is_wrong(path: list[Any], replacement: Any, named: str) -> None:
    with pytest.raises(UserError) as caught:
        parse(break_at(document(), path, replacement))
    assert named in str(caught.value)
    assert str(caught.value).startswith("data.json: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b'{"data": [\n  {"paragraphs": }\n]}', "line 2, column 18: not JSON"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (b"[" * 200_000, "nested too deeply"),
        (b'{"data": ' + b"9" * 5000 + b"}", "too long a number"),
        (b'{"data": []}', "no question with an answer"),
        (b"[]", "the file: expected an object"),
    ],
)
def test_refuses_what_is_not_squad(content: bytes, named: str) -> None:
    with pytest.raises(UserError, match=named):
        parse_squad(content, "data.json")


def test_refuses_missing_empty_and_huge_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file"):
        read_bytes(tmp_path / "none.json")
    empty = tmp_path / "empty.json"
    empty.write_bytes(b" \n")
    with pytest.raises(UserError, match="is empty"):
        read_bytes(empty)
    with (tmp_path / "huge.json").open("wb") as huge:
        huge.truncate(MAX_FILE_MIB * 2**20 + 1)
    with pytest.raises(UserError, match="larger than"):
        read_bytes(tmp_path / "huge.json")


def make(sizes: list[int]) -> list[Example]:
    return [
        Example(id=f"{a}-{i}", article=f"article-{a}", question="What?", context="It is.", answers=("It",))
        for a, size in enumerate(sizes)
        for i in range(size)
    ]


@pytest.mark.parametrize("sizes", [[10] * 120, [23, 7, 31, 18] * 16, [200] * 40, [5] * 300])
@pytest.mark.parametrize("seed", range(5))
def test_splits_have_the_asked_sizes_and_share_no_article(sizes: list[int], seed: int) -> None:
    examples = make(sizes)
    splits = split_by_article(examples, 1000, 100, 100, seed)
    assert splits.sizes == {"train": 1000, "validation": 100, "test": 100}
    sides = [{e.article for e in side} for side in (splits.train, splits.validation, splits.test)]
    assert sides[0].isdisjoint(sides[1] | sides[2])
    assert sides[1].isdisjoint(sides[2])
    assert splits == split_by_article(examples, 1000, 100, 100, seed)


def test_another_seed_gives_another_split() -> None:
    examples = make([10] * 120)
    assert split_by_article(examples, 1000, 100, 100, 0) != split_by_article(examples, 1000, 100, 100, 1)


XQUAD = [74, 23, 8, 30, 18, 24, 23, 25, 25, 24, 24, 24, 23, 21, 24, 36, 35, 32, 23, 20, 23, 23, 25, 25, 19, 24, 25, 25]
XQUAD += [39, 22, 21, 19, 25, 25, 25, 24, 24, 21, 21, 22, 24, 26, 23, 25, 25, 17, 16, 21]


def test_scarce_data_are_used_up_exactly() -> None:
    """The article sizes of XQuAD's English file: 1,190 questions are enough for 1,000, 100 and 90."""
    assert split_by_article(make(XQUAD), 1000, 100, 100, 3).sizes == {"train": 1000, "validation": 100, "test": 90}


def test_training_takes_what_is_left_where_it_cannot_have_all() -> None:
    sizes = split_by_article(make([10] * 30), 1000, 100, 100, 0).sizes
    assert sizes == {"train": 100, "validation": 100, "test": 100}


def test_too_few_articles_or_examples_are_refused_with_their_number() -> None:
    with pytest.raises(UserError, match="2 article"):
        split_by_article(make([500, 700]), 1000, 100, 100, 0)
    with pytest.raises(UserError, match="30 examples in 3 articles"):
        split_by_article(make([10] * 3), 1000, 100, 100, 0)
