"""Imports that a trial can do without.

Libraries import what they find installed, whether it will be used or not: transformers peft, datasets (which brings
pandas and pyarrow) and scipy, accelerate DeepSpeed, DeepSpeed mlflow. A new process would pay seconds for that.
"""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Iterator

UNUSED_BY_TRANSFORMERS = ("datasets", "peft", "scipy", "sklearn")
"""LoRA's adapters are put in by peft without transformers' help, and the data are the project's own."""


@contextlib.contextmanager
def absent(*packages: str) -> Iterator[None]:
    """As if these packages were not installed, for whoever looks while it lasts; one that is imported already stays."""
    hidden = [name for name in packages if name not in sys.modules]
    # None is what the import system takes for a package that is not there.
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            if sys.modules.get(name, sys) is None:
                del sys.modules[name]


@contextlib.contextmanager
def unwatched() -> Iterator[None]:
    """Without the garbage collector, and what is there at its end is never looked at again. An import makes a million
    objects that stay: to look at them all takes 0.2 s, many times while they come, and twice in every trial."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()
