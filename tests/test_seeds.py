"""One seed a purpose."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bench.run import SEED_NAMES
from bench.seeds import child_seed


@given(st.integers(0, 2**32))
def test_children_differ_and_repeat(seed: int) -> None:
    children = [child_seed(seed, name) for name in SEED_NAMES]
    assert len(set(children)) == len(children)
    assert children == [child_seed(seed, name) for name in SEED_NAMES]
    assert all(0 <= child < 2**31 for child in children)


def test_values_are_frozen() -> None:
    """A change would make every recorded study irreproducible."""
    assert [child_seed(0, "search"), child_seed(1, "search"), child_seed(0, "init")] == FROZEN


FROZEN = [930970513, 2008572648, 1774723126]
