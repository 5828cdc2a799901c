"""An image tests itself, on the CPU: packages against the lock, imports, kernels for its GPUs, one step of training.

Runs inside, by `%test`, with the image's own Python; ends with status 1 and a sentence at the first fault.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import sys
import tempfile
from importlib.metadata import distributions
from pathlib import Path

HERE = Path("/opt/sweepmark")
LABELS = Path("/.singularity.d/labels.json")
IMPORTS = ("accelerate", "ConfigSpace", "datasets", "deepspeed", "hpbandster", "optuna", "ray.tune", "scipy", "torch")


def main() -> None:
    os.environ.setdefault("DS_ACCELERATOR", "cpu")
    # Nothing is written outside: an image may be tested read-only, and what %test writes must not come into it.
    with tempfile.TemporaryDirectory() as scratch:
        os.environ |= {
            "HF_HOME": scratch,
            "XDG_CACHE_HOME": scratch,
            "TRITON_CACHE_DIR": scratch,
            "TORCHINDUCTOR_CACHE_DIR": scratch,
        }
        labels = {key.removeprefix("sweepmark."): value for key, value in json.loads(LABELS.read_text()).items()}
        check_python(labels)
        check_packages()
        for name in IMPORTS:
            importlib.import_module(name)
        check_torch(labels)
        loss = train_one_step(Path(scratch))
    print(
        f"selftest: Python {labels['python']}, torch {labels['torch']}, {labels['arch']}, loss {loss:.3f}: all is well"
    )


def check_python(labels: dict[str, str]) -> None:
    have = ".".join(map(str, sys.version_info[:2]))
    if have != labels["python"]:
        sys.exit(f"selftest: the label says Python {labels['python']}, this is {have}.")


def check_packages() -> None:
    """What is installed is what the lock names: no other version, nothing less, nothing more but the project."""
    locked = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (HERE / "python.lock").read_text(), re.MULTILINE))
    found = {re.sub(r"[-_.]+", "-", d.metadata["Name"]).lower(): d.version for d in distributions()}
    found.pop("sweepmark", None)
    wrong = sorted(name for name in locked.keys() | found.keys() if locked.get(name) != found.get(name))
    if wrong:
        name = wrong[0]
        sys.exit(
            f"selftest: {name} is {found.get(name)}, the lock says {locked.get(name)} ({len(wrong)} differ in all)."
        )


def check_torch(labels: dict[str, str]) -> None:
    import torch

    if torch.__version__.split("+")[0] != labels["torch"].split("+")[0]:
        sys.exit(f"selftest: the label says torch {labels['torch']}, this is {torch.__version__}.")
    if labels["arch"] == "none":
        return
    # Without a GPU, torch.cuda.get_arch_list() is empty: this is the list that it would give.
    flags = torch._C._cuda_getArchFlags().split()
    missing = [arch for arch in labels["arch"].split(",") if arch not in flags]
    if missing:
        sys.exit(f"selftest: this torch has no kernels for {missing[0]}, only for {', '.join(flags)}.")
    if not labels["cuda"].startswith(torch.version.cuda or "?"):
        sys.exit(f"selftest: the label says CUDA {labels['cuda']}, torch was built for {torch.version.cuda}.")


def train_one_step(scratch: Path) -> float:
    """The loss of one batch before one step of AdamW; after it, the same batch must have a lower one."""
    import torch

    from bench.hf.collate import Collator
    from bench.hf.prepared import prepare
    from bench.training import TrainingTask
    from bench.workload import load_recipe, load_workload

    workload = load_workload("tiny-squad")
    prepared = prepare(
        TrainingTask(
            workload=workload,
            recipe=load_recipe("qa"),
            precision="fp32",
            device="cpu",
            threads=1,
            init_seed=0,
            data_seed=0,
            epochs=1,
            cache=scratch,
        )
    )
    batch = Collator(prepared.tokenizer.pad_token_id, None)(prepared.train[:8])
    optimizer = torch.optim.AdamW(prepared.model.parameters(), lr=1e-3)
    losses: list[float] = []
    for _ in range(2):
        loss = prepared.model(**batch).loss
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    if not losses[1] < losses[0]:
        sys.exit(f"selftest: a step of training took the loss from {losses[0]} to {losses[1]}.")
    return losses[0]


if __name__ == "__main__":
    main()
