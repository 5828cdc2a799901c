"""SQuAD's JSON: read from files that are not trusted, and split by article."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import UserError

MAX_FILE_MIB = 256
"""SQuAD v1.1's training file has 29 MiB; a file beyond this limit is a mistake."""


@dataclass(frozen=True, kw_only=True)
class Example:
    """One question on one passage. `article`: splits share none. `answers`: the gold answers, one or more."""

    id: str
    article: str
    question: str
    context: str
    answers: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Splits:
    """Three sets of examples that share no article."""

    train: list[Example]
    validation: list[Example]
    test: list[Example]

    @property
    def sizes(self) -> dict[str, int]:
        return {"train": len(self.train), "validation": len(self.validation), "test": len(self.test)}


def read_bytes(path: Path) -> bytes:
    """The file's bytes. Raises UserError where it cannot be read, is empty or is larger than `MAX_FILE_MIB`."""
    try:
        if path.stat().st_size > MAX_FILE_MIB * 2**20:
            raise UserError(f"{path} is larger than {MAX_FILE_MIB} MiB: give a smaller file in SQuAD's JSON.")
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"Cannot read {path} ({error.strerror}): give a file in SQuAD's JSON.") from None
    if not content.strip():
        raise UserError(f"{path} is empty: give a file in SQuAD's JSON.")
    return content


def parse_squad(content: bytes, name: str) -> list[Example]:
    """The examples in `content`, in order; `name` stands for it in errors.

    Raises UserError that names the line (of broken JSON) or the path of the first value that is not as expected.
    """
    try:
        document = json.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise UserError(f"{name} is not UTF-8 text (byte {error.start}): save it as UTF-8.") from None
    except json.JSONDecodeError as error:
        raise UserError(
            f"{name}, line {error.lineno}, column {error.colno}: not JSON ({error.msg}): correct that place or give a "
            "file in SQuAD's JSON."
        ) from None
    except (RecursionError, ValueError):
        raise UserError(f"{name} is nested too deeply or holds too long a number: give SQuAD's JSON.") from None
    examples = _Reader(name).document(document)
    if not examples:
        raise UserError(f"{name} holds no question with an answer: give a file in SQuAD's JSON that does.")
    return examples


class _Reader:
    """Walks a document and says where it differs from SQuAD's layout."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._seen: set[str] = set()

    def document(self, document: Any) -> list[Example]:
        found: list[Example] = []
        for a, article in enumerate(self._list(self._object(document, "the file"), "data", "")):
            where = f"data[{a}]"
            # Titles may be missing (XQuAD) or repeat by mistake: the entry is the article.
            for p, paragraph in enumerate(self._list(self._object(article, where), "paragraphs", where)):
                found += self._paragraph(paragraph, f"{where}.paragraphs[{p}]", f"article-{a}")
        return found

    def _paragraph(self, paragraph: Any, where: str, article: str) -> list[Example]:
        context = self._text(self._object(paragraph, where), "context", where)
        found = []
        for q, qa in enumerate(self._list(paragraph, "qas", where)):
            here = f"{where}.qas[{q}]"
            identity = self._text(self._object(qa, here), "id", here)
            if identity in self._seen:
                raise self._wrong(f"{here}.id", f"an id that is not used twice, found '{identity[:80]}' again")
            self._seen.add(identity)
            question = self._text(qa, "question", here)
            entries = self._list(qa, "answers", here)
            if not entries:
                raise self._wrong(f"{here}.answers", "one answer or more, found none (SQuAD 2.0's are left out)")
            answers = [self._answer(e, f"{here}.answers[{i}]", context) for i, e in enumerate(entries)]
            found.append(
                Example(id=identity, article=article, question=question, context=context, answers=tuple(answers))
            )
        return found

    def _answer(self, entry: Any, where: str, context: str) -> str:
        text = self._text(self._object(entry, where), "text", where)
        start = entry.get("answer_start")
        if not isinstance(start, int) or isinstance(start, bool):
            raise self._wrong(f"{where}.answer_start", f"a number of characters, found {_kind(start)}")
        if start < 0 or context[start : start + len(text)] != text:
            raise self._wrong(where, f"an answer that stands in the context at {start}, found '{text[:60]}'")
        return text

    def _object(self, value: Any, where: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self._wrong(where, f"an object, found {_kind(value)}")
        return value

    def _list(self, holder: dict[str, Any], key: str, where: str) -> list[Any]:
        value = holder.get(key)
        if not isinstance(value, list):
            raise self._wrong(f"{where}.{key}".lstrip("."), f"a list, found {_kind(value)}")
        return value

    def _text(self, holder: dict[str, Any], key: str, where: str) -> str:
        value = holder.get(key)
        if not isinstance(value, str) or not value.strip():
            raise self._wrong(f"{where}.{key}", f"text, found {'nothing in it' if value == '' else _kind(value)}")
        # A lone surrogate is legal in JSON's escapes but is no text: a tokenizer cannot encode it.
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise self._wrong(f"{where}.{key}", "text, found half of a surrogate pair")
        return value

    def _wrong(self, where: str, expected: str) -> UserError:
        return UserError(f"{self._name}: {where}: expected {expected}: correct that place to follow SQuAD's layout.")


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", int: "a number", float: "a number"}
    return "nothing" if value is None else names[type(value)]


def split_by_article(examples: Sequence[Example], train: int, validation: int, test: int, seed: int) -> Splits:
    """Disjoint in articles, of `train`, `validation` and `test` examples, the same for the same seed.

    Where articles abound, each side gets a share of them in proportion to its size, and its examples are sampled from
    all of its articles. Where they are scarce, validation and test get the articles that waste the fewest examples,
    and then the test split, or the train split, may come out smaller than asked (see `Splits.sizes`). Raises UserError
    where there are fewer than three articles, or too few examples to validate as asked and train and test at all.
    """
    articles: dict[str, list[Example]] = {}
    for example in examples:
        articles.setdefault(example.article, []).append(example)
    wanted = (train, validation, test)
    if len(articles) < 3:
        raise UserError(
            f"The data hold {len(articles)} article(s); train, validation and test share none: give three or more."
        )
    rng = random.Random(seed)
    names = list(articles)
    rng.shuffle(names)
    sizes = [len(articles[name]) for name in names]
    parts = _proportional(sizes, wanted)
    if any(sum(sizes[i] for i in part) < want for part, want in zip(parts, wanted, strict=True)):
        parts = _frugal(sizes, wanted)
    pools = [[example for i in part for example in articles[names[i]]] for part in parts]
    sides = [_sample(pool, size, rng) for pool, size in zip(pools, wanted, strict=True)]
    if len(sides[1]) < validation or not (sides[0] and sides[2]):
        raise UserError(
            f"The data hold {len(examples)} examples in {len(articles)} articles, too few for {train} to train, "
            f"{validation} to validate and {test} to test without a shared article: give more data."
        )
    return Splits(train=sides[0], validation=sides[1], test=sides[2])


def _sample(examples: list[Example], size: int, rng: random.Random) -> list[Example]:
    """At most `size` examples, in their own order."""
    if len(examples) <= size:
        return examples
    return [examples[i] for i in sorted(rng.sample(range(len(examples)), size))]


def _proportional(sizes: list[int], wanted: tuple[int, int, int]) -> tuple[list[int], list[int], list[int]]:
    """Articles, by number, for each side in proportion to the examples wanted."""
    total = sum(wanted)
    validation = max(1, len(sizes) * wanted[1] // total)
    test = max(1, len(sizes) * wanted[2] // total)
    order = list(range(len(sizes)))
    return order[validation + test :], order[:validation], order[validation : validation + test]


def _frugal(sizes: list[int], wanted: tuple[int, int, int]) -> tuple[list[int], list[int], list[int]]:
    """Articles for validation, then test, that hold what is wanted with the least excess; the rest trains."""
    left = list(range(len(sizes)))
    validation = _least_excess(left, sizes, wanted[1])
    left = [i for i in left if i not in validation]
    # The test split gives way to training, unless training cannot have what was asked for anyway.
    spare = sum(sizes[i] for i in left) - wanted[0]
    test = _least_excess(left, sizes, min(wanted[2], spare) if spare > 0 else wanted[2])
    return [i for i in left if i not in test], validation, test


def _least_excess(candidates: list[int], sizes: list[int], wanted: int) -> list[int]:
    """The candidates whose sizes sum to the least total of `wanted` or more (all of them where it is out of reach)."""
    reached: dict[int, list[int]] = {0: []}
    for i in candidates:
        for total, chosen in list(reached.items()):
            if total < wanted:
                reached.setdefault(total + sizes[i], [*chosen, i])
    enough = [total for total in reached if total >= wanted]
    return reached[min(enough)] if enough else list(candidates)
