"""The adapter to torch, transformers, datasets and DeepSpeed: the only place that imports them.

`prepare`, `train_trial`, `follow_trial` and `score_final` are what an engine calls. Importing this package loads none
of the four.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.hf.deepspeed import load_config
    from bench.hf.final import score_final
    from bench.hf.prepared import Prepared, hashes, prepare
    from bench.hf.trial import follow_trial, train_trial

__all__ = ["Prepared", "follow_trial", "hashes", "load_config", "prepare", "score_final", "train_trial"]

_HOME = {
    "Prepared": "prepared",
    "follow_trial": "trial",
    "hashes": "prepared",
    "load_config": "deepspeed",
    "prepare": "prepared",
    "score_final": "final",
    "train_trial": "trial",
}


def __getattr__(name: str) -> Any:
    # Importing transformers takes seconds: only who calls one of these functions pays for it.
    if name not in _HOME:
        raise AttributeError(f"module 'bench.hf' has no attribute '{name}'")
    from importlib import import_module

    from bench.hf.sparing import UNUSED_BY_TRANSFORMERS, absent, unwatched

    module = f"bench.hf.{_HOME[name]}"
    if module not in sys.modules:
        with absent(*UNUSED_BY_TRANSFORMERS), unwatched():
            import_module(module)
    return getattr(sys.modules[module], name)
