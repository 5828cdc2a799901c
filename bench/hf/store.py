"""Encoded splits on disk: flat tensors of token ids, which load in milliseconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from bench.hf.encode import Encoded

FIELDS = ("input_ids", "labels")
PROMPTS = "prompts"


def save_tokens(path: Path, splits: Mapping[str, Sequence[Encoded]], prompts: Sequence[Sequence[int]]) -> None:
    """Writes the encoded splits, and the prompts for generation."""
    tensors: dict[str, torch.Tensor] = {}
    for name, rows in splits.items():
        for field in FIELDS:
            tensors[f"{name}.{field}"] = _flat([row[field] for row in rows])
        tensors[f"{name}.ends"] = _ends([row[FIELDS[0]] for row in rows])
    save_file(tensors | {PROMPTS: _flat(prompts), f"{PROMPTS}.ends": _ends(prompts)}, str(path))


def load_tokens(path: Path) -> tuple[dict[str, list[Encoded]], list[list[int]]]:
    """The inverse of `save_tokens`."""
    tensors = load_file(str(path))
    splits: dict[str, list[Encoded]] = {}
    for name in (key.removesuffix(f".{FIELDS[0]}") for key in tensors if key.endswith(f".{FIELDS[0]}")):
        ends = tensors[f"{name}.ends"]
        columns = [_rows(tensors[f"{name}.{field}"], ends) for field in FIELDS]
        splits[name] = [dict(zip(FIELDS, row, strict=True)) for row in zip(*columns, strict=True)]
    return splits, _rows(tensors[PROMPTS], tensors[f"{PROMPTS}.ends"])


def _flat(rows: Sequence[Sequence[int]]) -> torch.Tensor:
    return torch.tensor([number for row in rows for number in row], dtype=torch.int32)


def _ends(rows: Sequence[Sequence[int]]) -> torch.Tensor:
    return torch.tensor([len(row) for row in rows], dtype=torch.int64).cumsum(0)


def _rows(flat: torch.Tensor, ends: torch.Tensor) -> list[list[int]]:
    numbers: list[int] = flat.tolist()
    return [numbers[start:end] for start, end in pairwise([0, *ends.tolist()])]
