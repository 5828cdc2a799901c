"""One seed sequence a study, with named children; no seed serves two purposes."""

from __future__ import annotations

import hashlib


def child_seed(seed: int, name: str) -> int:
    """A 31-bit seed for one purpose, from the study's seed and the purpose's name.

    Built on `numpy.random.SeedSequence` with the name's hash as spawn key, so that neither a new purpose nor
    a change in their order moves the others.
    """
    from numpy.random import SeedSequence

    digest = hashlib.sha256(name.encode()).digest()
    key = tuple(int.from_bytes(digest[i : i + 4], "big") for i in range(0, 16, 4))
    return int(SeedSequence(seed, spawn_key=key).generate_state(1)[0]) & 0x7FFFFFFF
