"""What a trial's process does not import, and that it can when it is asked for later."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.hf.sparing import absent

UNUSED = ("datasets", "pandas", "pyarrow", "peft", "scipy", "sklearn", "deepspeed", "mlflow")

TRIAL = """
import json, sys
from pathlib import Path
from tests.hf.conftest import CONFIG, small_task
from bench.hf import score_final, train_trial
folder = Path(sys.argv[1])
def losses(name, **more):
    found = []
    train_trial(small_task(folder / "cache", epochs=1), CONFIG | more, folder=folder / name, on_epoch=found.append)
    return [result.eval_loss for result in found], found[-1].checkpoint
plain, checkpoint = losses("plain")
score_final(small_task(folder / "cache", epochs=1), checkpoint)
imported = [name for name in json.loads(sys.argv[2]) if name in sys.modules]
lora, _ = losses("lora", lora_rank=2)
import datasets
print(json.dumps({"imported": imported, "plain": plain, "lora": lora}))
"""


def test_a_package_is_absent_for_as_long_as_asked() -> None:
    from importlib.util import find_spec

    sys.modules.pop("wave", None)
    with absent("wave", "json"):
        assert find_spec("wave") is None
        with pytest.raises(ImportError):
            import wave
        assert sys.modules["json"] is json, "what is imported already stays"
    import wave

    assert find_spec("wave") is not None
    assert wave.__name__ == "wave"


def test_what_a_trial_does_without(tmp_path: Path) -> None:
    """Training and scoring import none of it; LoRA, and data from the hub, still find theirs afterwards."""
    command = [sys.executable, "-c", TRIAL, str(tmp_path), json.dumps(UNUSED)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["imported"] == []
    assert told["lora"] != told["plain"]
