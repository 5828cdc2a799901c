"""Where a task's examples come from: the hub, a file, or made here; each under a key that changes with the data."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.errors import UserError
from bench.generate import generate
from bench.squad import Example, Splits, parse_squad, read_bytes, split_by_article
from bench.training import TrainingTask
from bench.workload import DataSource


@dataclass(frozen=True)
class Source:
    """`key`: a sha256 over everything that decides the examples. `load`: reads and splits them, which may take long."""

    key: str
    load: Callable[[], Splits]


def source(task: TrainingTask) -> Source:
    """The examples of a task. Raises UserError where a file is not as expected or the hub cannot be reached."""
    path = task.dataset
    try:
        stamp = (path.stat().st_mtime_ns, path.stat().st_size) if path is not None else None
    except OSError:
        stamp = None
    return _source(task.workload.data, path, stamp)


@functools.lru_cache(maxsize=2)
def _source(data: DataSource, path: Path | None, stamp: tuple[int, int] | None) -> Source:
    """`stamp`: a file's time and size, so that a changed file is read again and an unchanged one is not."""
    del stamp
    if path is None and data.generated_articles is None:
        return Source(_key(data, f"{data.hub}@{data.revision}"), lambda: _split(_from_hub(data), data))
    if path is not None:
        name, content = str(path), read_bytes(path)
    else:
        made = generate(data.generated_articles or 0, data.seed, data.facts_per_passage)
        name, content = "generated", json.dumps(made).encode()
    return Source(_key(data, hashlib.sha256(content).hexdigest()), lambda: _split(parse_squad(content, name), data))


def _key(data: DataSource, content: str) -> str:
    parts = [content, data.train, data.validation, data.test, data.seed]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _split(examples: list[Example], data: DataSource) -> Splits:
    return split_by_article(examples, data.train, data.validation, data.test, data.seed)


def _from_hub(data: DataSource) -> list[Example]:
    """The examples of the hub's train split, at the pinned revision, from the local cache where it holds them."""
    import datasets

    datasets.disable_progress_bars()
    datasets.logging.set_verbosity_error()
    try:
        rows = datasets.load_dataset(data.hub, revision=data.revision, split="train")
        columns = [rows[name] for name in ("id", "title", "question", "context", "answers")]
    except MemoryError:
        raise
    except Exception as error:  # the hub, its cache and its formats fail in too many ways to list
        raise UserError(
            f"Cannot load the data set {data.hub} at revision {str(data.revision)[:12]} from the Hugging Face hub or "
            f"its cache ({type(error).__name__}): connect once, or give a file in SQuAD's JSON with --dataset FILE."
        ) from None
    return [
        Example(id=i, article=title, question=question.strip(), context=context, answers=tuple(answers["text"]))
        for i, title, question, context, answers in zip(*columns, strict=True)
        if answers["text"]
    ]


def data_hash(splits: Splits) -> str:
    """A sha256 over all examples of all splits."""
    rows = [
        [side, e.id, e.article, e.question, e.context, list(e.answers)]
        for side, examples in (("train", splits.train), ("validation", splits.validation), ("test", splits.test))
        for e in examples
    ]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()
