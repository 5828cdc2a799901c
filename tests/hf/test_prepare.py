"""Prepared once, kept under a checksum, made by two processes at once without harm."""

from __future__ import annotations

import dataclasses
import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.errors import UserError
from bench.generate import generate
from bench.hf import hashes, prepare, prepared
from bench.training import TrainingTask

HASHES = """
import json, pickle, sys
from pathlib import Path
from bench.hf import hashes
print(json.dumps(hashes(pickle.loads(Path(sys.argv[1]).read_bytes()))))
"""


def test_two_processes_at_once_prepare_the_same(make_task: Callable[..., TrainingTask], tmp_path: Path) -> None:
    task = make_task(cache=tmp_path / "cache")
    (tmp_path / "task.pickle").write_bytes(pickle.dumps(task))
    command = [sys.executable, "-c", HASHES, str(tmp_path / "task.pickle")]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert [error for _, error in outputs] == ["", ""]
    assert json.loads(outputs[0][0]) == json.loads(outputs[1][0]) == hashes(make_task())
    assert len(list(task.cache.iterdir())) == 1


def test_prepared_once(task: TrainingTask) -> None:
    assert prepare(task) is prepare(dataclasses.replace(task, data_seed=99, epochs=1))


def test_the_cache_key_follows_what_decides_the_tokens(
    make_task: Callable[..., TrainingTask], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for changes in ({}, {"recipe": "workshop"}, {"workload": {"max_tokens": 50}}, {"init_seed": 9}):
        prepare(make_task(cache=tmp_path, **changes))
    assert len(list(tmp_path.iterdir())) == 3
    monkeypatch.setattr(prepared, "CACHE_FORMAT", 99)
    prepare(make_task(cache=tmp_path))
    assert len(list(tmp_path.iterdir())) == 4


def test_hashes_follow_weights_tokenizer_and_data(make_task: Callable[..., TrainingTask]) -> None:
    first, other = hashes(make_task()), hashes(make_task(init_seed=9))
    assert first["model_sha256"] != other["model_sha256"]
    assert first["tokenizer_sha256"] == other["tokenizer_sha256"]
    assert first["data_sha256"] == other["data_sha256"]
    assert first["splits"] == {"train": 48, "validation": 16, "test": 16}
    assert first == hashes(make_task())


def test_a_file_takes_the_place_of_the_data(make_task: Callable[..., TrainingTask], tmp_path: Path) -> None:
    path = tmp_path / "data.json"
    path.write_text(json.dumps(generate(12, 77)), encoding="utf-8")
    task = make_task(dataset=path)
    assert hashes(task)["data_sha256"] != hashes(make_task())["data_sha256"]
    path.write_text('{"data": [\n 7 ]}', encoding="utf-8")
    with pytest.raises(UserError, match=r"data\[0\]: expected an object"):
        prepare(task)
    path.unlink()
    with pytest.raises(UserError, match="Cannot read"):
        prepare(task)


def test_a_model_folder_takes_the_place_of_the_model(make_task: Callable[..., TrainingTask], tmp_path: Path) -> None:
    made = prepare(make_task())
    made.model.save_pretrained(tmp_path / "model")
    made.tokenizer.save_pretrained(tmp_path / "model")
    given = make_task(model=tmp_path / "model")
    assert hashes(given)["model_sha256"] == hashes(make_task())["model_sha256"]
    assert hashes(given)["tokenizer_sha256"] == hashes(make_task())["tokenizer_sha256"]


@pytest.mark.parametrize("content", [None, "", "not json"])
def test_a_bad_model_folder_is_told_in_one_sentence(
    make_task: Callable[..., TrainingTask], tmp_path: Path, content: str | None
) -> None:
    folder = tmp_path / "model"
    if content is not None:
        folder.mkdir()
        (folder / "config.json").write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match="--model DIR") as caught:
        prepare(make_task(model=folder))
    assert "\n" not in str(caught.value)


def test_pickled_weights_are_refused(make_task: Callable[..., TrainingTask], tmp_path: Path) -> None:
    import torch

    made = prepare(make_task())
    made.model.save_pretrained(tmp_path / "model")
    made.tokenizer.save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").unlink()
    torch.save(made.model.state_dict(), tmp_path / "model" / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"model\.safetensors"):
        prepare(make_task(model=tmp_path / "model"))


def test_an_unreachable_hub_is_told_with_the_remedy(
    make_task: Callable[..., TrainingTask], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Offline and without a cache, the hub's workload asks for --dataset FILE, then for --model DIR."""
    import huggingface_hub.constants

    from bench.workload import load_workload

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    workload = load_workload("bloom560m-squad")
    task = dataclasses.replace(make_task(cache=tmp_path / "cache"), workload=workload)
    with pytest.raises(UserError, match="--dataset FILE"):
        prepare(task)
    path = tmp_path / "data.json"
    path.write_text(json.dumps(generate(120, 7)), encoding="utf-8")
    with pytest.raises(UserError, match="--model DIR"):
        prepare(dataclasses.replace(task, dataset=path))


def test_what_is_cached_in_a_team_s_folder_is_the_team_s(tmp_path: Path) -> None:
    team = tmp_path / "team"
    team.mkdir()
    team.chmod(0o775)
    prepared._publish(team / "data", lambda draft: (draft / "x").touch())
    assert (team / "data").stat().st_mode & 0o777 == 0o775
