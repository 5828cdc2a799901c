"""The random number generators of a process, as tensors."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator

import numpy as np
import torch

from bench.seeds import child_seed


def capture() -> dict[str, torch.Tensor]:
    """The states of torch's generators and of numpy's and Python's global ones."""
    _, words, position, has_gauss, gauss = np.random.get_state(legacy=True)
    version, inner, cached = random.getstate()
    states = {
        "torch": torch.get_rng_state(),
        "numpy": torch.tensor([*(int(word) for word in words), position, has_gauss], dtype=torch.int64),
        "numpy_gauss": torch.tensor(gauss, dtype=torch.float64),
        "python": torch.tensor([version, *inner], dtype=torch.int64),
        "python_gauss": torch.tensor(float("nan") if cached is None else cached, dtype=torch.float64),
    }
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def restore(states: dict[str, torch.Tensor]) -> None:
    """The inverse of `capture`."""
    torch.set_rng_state(states["torch"])
    *words, position, has_gauss = states["numpy"].tolist()
    key = np.array(words, dtype=np.uint32)
    np.random.set_state(("MT19937", key, position, has_gauss, states["numpy_gauss"].item()))
    version, *inner = states["python"].tolist()
    cached = states["python_gauss"].item()
    random.setstate((version, tuple(inner), None if cached != cached else cached))
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])


def part(seed: int, rank: int) -> None:
    """Gives every rank but the first a stream of its own: with one for all, they would drop the same units out."""
    if rank:
        own = child_seed(seed, f"rank {rank}")
        torch.manual_seed(own)
        np.random.seed(own)
        random.seed(own)


@contextlib.contextmanager
def restored() -> Iterator[None]:
    """Leaves the generators as they were found."""
    states = capture()
    try:
        yield
    finally:
        restore(states)
