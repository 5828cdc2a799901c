"""What is the same for all trials of a task, paid once: tokens and tokenizer on disk, all of it in memory."""

from __future__ import annotations

import functools
import gc
import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer

from bench.errors import UserError
from bench.hf.encode import Encoded, Encoder
from bench.hf.failures import no_space
from bench.hf.model import load_model, load_tokenizer, model_hash, source_key, tokenizer_hash
from bench.hf.quiet import quiet
from bench.hf.source import Source, data_hash, source
from bench.hf.store import load_tokens, save_tokens
from bench.hf.table import Table
from bench.training import TrainingTask

CACHE_FORMAT = 2
"""Part of every cache key: raise it when the encoding or the layout of the folder changes."""
TOKENS_NAME = "tokens.safetensors"


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A task's data and model. `train`, `validation`, `test`: encoded for the loss. `prompts`, `answers`: of the test
    split, for generation. `model`: untrained; trials train copies. `train_tokens`: of an epoch, without padding.
    `tables`: its splits on the device, as far as they were asked for."""

    tokenizer: Any
    model: Any
    train: list[Encoded]
    validation: list[Encoded]
    test: list[Encoded]
    prompts: list[list[int]]
    answers: list[list[str]]
    train_tokens: int
    data_sha256: str
    tables: dict[Any, Table] = field(default_factory=dict, repr=False)

    def table(self, split: str, length: int | None, device: torch.device, says: frozenset[str]) -> Table:
        """A split on the device, laid out once; see `Table`."""
        key = (split, length, device, says)
        if key not in self.tables:
            rows = getattr(self, split)
            self.tables[key] = Table(rows, self.tokenizer.pad_token_id, length, device, says=says)
        return self.tables[key]


@dataclass(frozen=True)
class _Data:
    tokenizer: Any
    columns: dict[str, list[Any]]
    data_sha256: str


# One of each is enough: a worker serves one study, and models are large.
_data: dict[str, _Data] = {}
_prepared: dict[str, Prepared] = {}


def prepare(task: TrainingTask, entering: Callable[[str], None] | None = None) -> Prepared:
    """The task's data and untrained model; from memory if this process has them, else from `task.cache`, else made.

    `entering`: told "data" and "model" when it comes to them. Safe in several processes at once. Raises UserError where
    the data or the model cannot be had.
    """
    entering = entering or (lambda part: None)
    torch.set_num_threads(task.threads)
    entering("data")
    with quiet():
        key, found = _key(task)
        model_key = f"{key} {task.model} {json.dumps(task.workload.model.bloom)} {task.init_seed}"
        if model_key not in _prepared:
            if key not in _data:
                _data.clear()
                _data[key] = _load_or_make(task, key, found)
            entering("model")
            _prepared.clear()
            _settle()
            _prepared[model_key] = _assemble(task, _data[key])
        return _prepared[model_key]


@functools.cache
def _settle() -> None:
    """Takes the imported libraries out of the garbage collector's sight: accelerate collects twice in every trial, and
    would look at a million objects of theirs each time (0.18 s)."""
    gc.freeze()


def hashes(task: TrainingTask) -> dict[str, Any]:
    """What a record says about the inputs: the sha256 of the untrained model, the tokenizer and the data, and the sizes
    that the splits really have."""
    prepared = prepare(task)
    return {
        "model_sha256": model_hash(prepared.model),
        "tokenizer_sha256": tokenizer_hash(prepared.tokenizer),
        "data_sha256": prepared.data_sha256,
        "parameters": prepared.model.num_parameters(),
        "splits": {name: len(getattr(prepared, name)) for name in ("train", "validation", "test")},
    }


def _key(task: TrainingTask) -> tuple[str, Source]:
    found = source(task)
    parts = [
        CACHE_FORMAT,
        found.key,
        source_key(task),
        task.recipe.labels,
        task.workload.max_tokens,
        task.workload.max_new_tokens,
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest(), found


def _assemble(task: TrainingTask, data: _Data) -> Prepared:
    columns = data.columns
    return Prepared(
        tokenizer=data.tokenizer,
        model=load_model(task, data.tokenizer),
        train=columns["train"],
        validation=columns["validation"],
        test=columns["test"],
        prompts=columns["prompts"],
        answers=columns["answers"],
        train_tokens=sum(len(row["input_ids"]) for row in columns["train"]),
        data_sha256=data.data_sha256,
    )


def _load_or_make(task: TrainingTask, key: str, found: Source) -> _Data:
    folder = task.cache / f"data-{key[:32]}"
    if not folder.is_dir():
        try:
            _publish(folder, lambda draft: _make(task, found, draft))
        except OSError as error:
            raise no_space(error, folder) or UserError(
                f"Cannot write the cache {folder} ({error.strerror}): give a writable folder."
            ) from None
    splits, prompts = load_tokens(folder / TOKENS_NAME)
    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    columns: dict[str, list[Any]] = {**splits, "prompts": prompts, "answers": meta["answers"]}
    return _Data(AutoTokenizer.from_pretrained(str(folder / "tokenizer")), columns, meta["data_sha256"])


def _make(task: TrainingTask, found: Source, folder: Path) -> None:
    splits = found.load()
    tokenizer = load_tokenizer(task, splits.train)
    encoder = Encoder(tokenizer, task.recipe.labels, task.workload.max_tokens, task.workload.max_new_tokens)
    encoded = {name: encoder.train(getattr(splits, name)) for name in splits.sizes}
    save_tokens(folder / TOKENS_NAME, encoded, encoder.prompts(splits.test))
    tokenizer.save_pretrained(str(folder / "tokenizer"))
    meta = {"data_sha256": data_hash(splits), "answers": [list(e.answers) for e in splits.test]}
    (folder / "meta.json").write_text(json.dumps(meta), encoding="utf-8")


def _publish(folder: Path, fill: Callable[[Path], None]) -> None:
    """Fills a draft beside `folder` and renames it: no process ever sees half of it. Where another was faster, its
    folder holds the same and stays."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=folder.parent))
    draft.chmod(folder.parent.stat().st_mode)  # for whoever may use the folder around it; a draft is its maker's alone
    try:
        fill(draft)
        try:
            draft.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
