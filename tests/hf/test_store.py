"""Encoded splits survive the disk."""

from __future__ import annotations

from pathlib import Path

from bench.hf.store import load_tokens, save_tokens


def test_round_trip(tmp_path: Path) -> None:
    splits = {
        "train": [{"input_ids": [5, 6, 7], "labels": [-100, 6, 7]}, {"input_ids": [250_879], "labels": [-100]}],
        "validation": [{"input_ids": [1], "labels": [2]}],
        "test": [],
    }
    prompts = [[3, 4], [], [5]]
    save_tokens(tmp_path / "tokens", splits, prompts)
    assert load_tokens(tmp_path / "tokens") == (splits, prompts)
