"""`sweepmark fetch` from a hub on loopback, by the libraries' own code; and what an offline node makes of it."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.cluster.site import Site
from bench.doctor import hub as hub_check
from bench.generate import generate
from bench.hf import fetched
from bench.hf.fetch import HubFile, git_blob, matches
from bench.squad import parse_squad
from bench.workload import DataSource, ModelSource, Workload, load_workload
from tests.doctor.fake_hub import FakeHub, serving

REVISION = "a" * 40
MODEL, DATA = "models/a/tiny", "datasets/a/squad"
CARD = """---
configs:
- config_name: plain_text
  data_files:
  - split: train
    path: plain_text/train-*
  - split: validation
    path: plain_text/validation-*
---
"""

WORKLOAD = """
import dataclasses, sys
from pathlib import Path
import bench.workload as w
tiny = w.load_workload("tiny-squad")
hubby = dataclasses.replace(
    tiny, name="hubby", known=(), model=w.ModelSource(hub="a/tiny", revision="a" * 40),
    data=w.DataSource(hub="a/squad", revision="a" * 40, train=100, validation=20, test=20),
)
w.load_workload = {"hubby": hubby, "tiny-squad": tiny}.__getitem__
w.workload_names = lambda: ["hubby", "tiny-squad"]
"""
COMMAND = f"""{WORKLOAD}
from bench.cli import cli, main
from bench.cli.fetch import fetch
cli.add_command(fetch)
main()
"""
TRAIN = f"""{WORKLOAD}
from bench.hf import prepare
from bench.training import TrainingTask
task = TrainingTask(
    workload=hubby, recipe=w.load_recipe("qa"), precision="fp32", device="cpu", threads=1, init_seed=1, data_seed=1,
    epochs=1, cache=Path(sys.argv[1]),
)
prepared = prepare(task)
print(len(prepared.train), prepared.model.num_parameters())
"""


def model() -> dict[str, bytes]:
    """A BLOOM with letters for words. Weights that are not in the file are made when it is loaded."""
    import numpy as np
    from safetensors.numpy import save
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = {word: number for number, word in enumerate(["</s>", "<pad>", "<unk>", *map(chr, range(32, 127))])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    special = {"eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    config = {
        "architectures": ["BloomForCausalLM"], "model_type": "bloom", "hidden_size": 16, "n_layer": 1, "n_head": 2,
        "vocab_size": len(words),
    }  # fmt: skip
    weights = {"transformer.word_embeddings.weight": np.zeros((len(words), 16), np.float32)}
    return {
        "config.json": json.dumps(config).encode(),
        "generation_config.json": b"{}",
        "model.safetensors": save(weights, {"format": "pt"}),
        "tokenizer.json": tokenizer.to_str().encode(),
        "tokenizer_config.json": json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", **special}).encode(),
        # What else such repositories hold: pickles, and other formats.
        "pytorch_model.bin": b"x" * 9000,
        "onnx/model.safetensors": b"y",
        "flax_model.msgpack": b"z",
    }


def tables() -> dict[str, bytes]:
    from datasets import Dataset

    examples = parse_squad(json.dumps(generate(60, 7)).encode(), "made here")

    def parquet(chosen: list[Any]) -> bytes:
        rows = [
            {
                "id": e.id, "title": e.article, "context": e.context, "question": e.question,
                "answers": {"text": list(e.answers), "answer_start": [0] * len(e.answers)},
            }
            for e in chosen
        ]  # fmt: skip
        buffer = io.BytesIO()
        Dataset.from_list(rows).to_parquet(buffer)
        return buffer.getvalue()

    return {
        "README.md": CARD.encode(),
        "plain_text/train-00000-of-00001.parquet": parquet(examples),
        "plain_text/validation-00000-of-00001.parquet": parquet(examples[:20]),
        "other/test.parquet": b"not asked for",
    }


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with serving(FakeHub(revision=REVISION, files={MODEL: model(), DATA: tables()})) as one:
        yield one


class Node:
    """A login node with a cache of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def run(self, code: str, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        return subprocess.run(
            [sys.executable, "-c", code, *words], env={**clean, "HF_HOME": str(self.home), **environ},
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip

    def fetch(self, *words: str, hub: FakeHub | None = None, **environ: str) -> subprocess.CompletedProcess[str]:
        # A closed port: the discard service's.
        return self.run(COMMAND, "fetch", *words, HF_ENDPOINT=hub.url if hub else "http://127.0.0.1:9", **environ)

    def blob(self, name: str) -> Path:
        (path,) = self.home.glob(f"hub/*/snapshots/*/{name}")
        return path.resolve()


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path / "hf")


def test_from_the_hub_to_an_offline_run(node: Node, hub: FakeHub, tmp_path: Path) -> None:
    """Exactly what is needed comes, once; damage is found offline and mended; an offline node then trains from it."""
    done = node.fetch("hubby", hub=hub)
    assert done.returncode == 0, done.stderr
    assert "hubby: 11 files" in done.stdout
    wanted = {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    data = {name for name in hub.files[DATA] if not name.startswith("other")}
    assert sorted(hub.asked) == sorted([*(f"{MODEL}/{n}" for n in wanted), *(f"{DATA}/{n}" for n in data)])
    manifest = json.loads((node.home / "sweepmark-hubby.json").read_text())
    assert {each["name"] for each in manifest["repositories"]} == {"a/tiny", "a/squad"}
    assert str(node.home) not in json.dumps(manifest), "an image sees the cache elsewhere"

    checked = node.fetch("hubby", "--check")
    assert (checked.returncode, checked.stderr) == (0, "")
    hub.asked.clear()
    assert node.fetch("hubby", hub=hub).returncode == 0
    assert hub.asked == [], "a second time nothing is fetched"

    arrow = next(node.home.glob("datasets/*/*/*/*/*-train.arrow"))
    arrow.write_bytes(b"not a table")
    node.blob("model.safetensors").write_bytes(b"\0" * node.blob("model.safetensors").stat().st_size)
    node.blob("tokenizer.json").unlink()
    checked = node.fetch("hubby", "--check")
    assert checked.returncode == 1
    assert "model.safetensors in models--a--tiny has changed" in checked.stderr
    assert "tokenizer.json in models--a--tiny is missing" in checked.stderr
    assert "train.arrow in a___squad has changed" in checked.stderr
    assert " fetch hubby`, on a node with internet" in checked.stderr
    assert "Traceback" not in checked.stderr

    hub.damage = {(MODEL, "model.safetensors"): 1}
    again = node.fetch("hubby", hub=hub)
    assert again.returncode == 2
    assert "gave a damaged model.safetensors" in again.stderr
    again = node.fetch("hubby", hub=hub)
    assert again.returncode == 0, again.stderr
    assert node.fetch("hubby", "--check").returncode == 0

    offline = node.run(TRAIN, str(tmp_path / "cache"), HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1")
    assert offline.returncode == 0, offline.stderr
    assert offline.stdout.split()[0] == "100"


def test_what_cannot_be_fetched_is_one_sentence(node: Node, hub: FakeHub) -> None:
    cases = [
        (node.fetch("hubby"), "Cannot reach http://127.0.0.1:9"),
        (node.fetch("hubby", hub=hub, HF_HUB_OFFLINE="1"), "HF_HUB_OFFLINE is set"),
    ]
    hub.revision = "b" * 40
    cases.append((node.fetch("hubby", hub=hub), "no such repository or revision"))
    for done, words in cases:
        assert done.returncode == 2
        assert words in done.stderr
        assert done.stderr.startswith("sweepmark: ")
        assert done.stderr.count("\n") == 1, done.stderr
    hub.revision = REVISION
    hub.files = {**hub.files, MODEL: {"config.json": b"{}", "pytorch_model.bin": b"x"}}
    done = node.fetch("hubby", hub=hub)
    assert done.returncode == 2
    assert "weights in safetensors" in done.stderr
    hub.files = {MODEL: model(), DATA: {**tables(), "plain_text/train-00000-of-00001.parquet": b"no table" * 99}}
    done = node.fetch("hubby", hub=hub)
    assert done.returncode == 2
    assert "cannot be used" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_full_cache_is_one_sentence(node: Node, hub: FakeHub) -> None:
    node.home.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", node.home], check=False).returncode:
        pytest.skip("no tmpfs can be mounted here")
    try:
        hub.files[MODEL]["model.safetensors"] += b"x" * 100_000
        done = node.fetch("hubby", hub=hub)
    finally:
        subprocess.run(["umount", node.home], check=True)
    assert done.returncode == 2
    assert "No space left" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr


def test_a_workload_of_our_own_needs_nothing(node: Node) -> None:
    done = node.fetch("tiny-squad")
    assert done.returncode == 0
    assert "nothing to fetch" in done.stdout


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's cache, for this process."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.delenv("HF_DATASETS_CACHE", raising=False)
    return tmp_path


def hubby() -> Workload:
    return dataclasses.replace(
        load_workload("tiny-squad"), name="hubby", model=ModelSource(hub="a/tiny", revision=REVISION),
        data=DataSource(hub="a/squad", revision=REVISION, train=10, validation=10, test=10),
    )  # fmt: skip


def filled(cache: Path) -> tuple[Path, Path]:
    paths = (cache / "hub" / "m" / "config.json", cache / "datasets" / "a___squad" / "p" / "0" / REVISION / "t.arrow")
    places: tuple[tuple[fetched.Place, Path], ...] = (("hub", paths[0]), ("datasets", paths[1]))
    files = []
    for place, path in places:
        path.parent.mkdir(parents=True)
        path.write_bytes(b"right")
        inside = str(path.relative_to(fetched.folder(place)))
        files.append(fetched.CachedFile(place=place, path=inside, size=5, sha256=fetched.sha256(path)))
    workload = hubby()
    manifest = fetched.Manifest(workload="hubby", repositories=fetched.repositories(workload), files=tuple(files))
    fetched.save(workload, manifest)
    return paths


def test_the_doctor_asks_for_what_is_missing(cache: Path) -> None:
    workload = hubby()
    assert hub_check.line(load_workload("tiny-squad"), Site(offline=True)).status == "pass"
    assert hub_check.line(workload, Site()).status == "warn"
    assert hub_check.line(workload, Site(offline=True)).status == "fail"
    model, _ = filled(cache)
    assert hub_check.line(workload, Site(offline=True)).status == "pass"
    model.write_bytes(b"wrong")
    line = hub_check.line(workload, Site(offline=True))
    assert line.status == "fail"
    assert "config.json in m has changed" in line.found
    assert "sweepmark fetch hubby" in line.remedy
    model.unlink()
    assert "is missing" in hub_check.line(workload, Site(offline=True)).found


def test_another_revision_than_the_workloads_is_found(cache: Path) -> None:
    filled(cache)
    moved = dataclasses.replace(hubby(), model=ModelSource(hub="a/tiny", revision="b" * 40))
    assert "what was fetched is not a/tiny at revision bbbbbbbbbbbb" in fetched.faults(moved)[0]


def test_a_newer_copy_of_another_revision_would_be_taken_offline(cache: Path) -> None:
    _, table = filled(cache)
    other = table.parents[1] / ("c" * 40)
    other.mkdir()
    os.utime(other, (2e9, 2e9))
    (fault,) = fetched.faults(hubby())
    assert "cccccccccccc in a___squad" in fault
    os.utime(other, (1, 1))
    assert fetched.faults(hubby()) == []


@pytest.mark.parametrize("content", [b"", b"{", b'{"schema_version": 1}', b"\xff" * 100])
def test_a_damaged_list_is_as_good_as_none(cache: Path, content: bytes) -> None:
    filled(cache)
    fetched.manifest_path(hubby()).write_bytes(content)
    assert "or damaged" in fetched.faults(hubby())[0]


def test_checksums(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"hello\n")
    assert git_blob(path) == "ce013625030ba8dba906f756967f9e9ca394464a", "as `git hash-object` gives it"
    small = HubFile(path="file", size=6, blob=git_blob(path), sha256=None)
    large = dataclasses.replace(small, blob="0" * 40, sha256=fetched.sha256(path))
    assert matches(path, small)
    assert matches(path, large)
    assert not matches(path, dataclasses.replace(small, size=7))
    assert not matches(path, dataclasses.replace(large, sha256="0" * 64))
