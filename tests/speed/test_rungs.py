"""The ladder follows the recipe `fast`, whatever that switches on."""

from __future__ import annotations

from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path

import pytest

from bench.errors import UserError
from bench.speed.rungs import PUBLISHED, REFERENCE, SHARDED, chosen, ladder, listed
from bench.workload import Computation, load_recipe
from bench.zero import deepspeed_file


def test_from_the_published_recipe_to_fast() -> None:
    rungs = ladder()
    assert [rung.name for rung in rungs[:4]] == [PUBLISHED, REFERENCE, "no sharding", "padded to longest"]
    assert rungs[0].recipe == load_recipe("workshop")
    assert not rungs[0].comparable
    assert all(rung.comparable for rung in rungs[1:])
    assert [rung.deepspeed for rung in rungs[:3]] == [SHARDED, SHARDED, None]
    assert deepspeed_file(SHARDED).is_file()
    assert rungs[3].recipe == load_recipe("qa")
    assert rungs[-1].recipe == load_recipe("fast")
    assert len({rung.name for rung in rungs}) == len(rungs)


def test_each_rung_changes_one_thing() -> None:
    rungs = ladder()
    for before, after in pairwise(rungs[3:]):
        old, new = asdict(before.recipe.computation), asdict(after.recipe.computation)
        assert sum(old[name] != new[name] for name in old) == 1, after.name


def test_it_follows_another_fast() -> None:
    qa, fast = load_recipe("qa"), load_recipe("fast")
    only = replace(fast, computation=Computation(head="labelled", batches="device"))
    assert [rung.name for rung in ladder(only)[4:]] == ["logits where labelled", "batches on the device"]
    assert len(ladder(replace(fast, computation=qa.computation))) == 4
    with pytest.raises(ValueError, match="something else"):
        ladder(replace(fast, padding="max_length"))


def test_some_of_them() -> None:
    rungs = ladder()
    assert chosen(rungs, []) == rungs
    assert [rung.name for rung in chosen(rungs, ["no sharding", PUBLISHED])] == [PUBLISHED, "no sharding"]
    with pytest.raises(
        UserError, match=r"no rung 'no shard': give, in order of climbing, workshop, correct objective, "
    ):
        chosen(rungs, ["no shard"])


def test_rungs_answer_to_the_recipes_that_they_are() -> None:
    rungs = ladder()
    assert [rung.recipe for rung in chosen(rungs, ["fast", "qa"])] == [load_recipe("qa"), load_recipe("fast")]
    assert chosen(rungs, ["qa", "padded to longest"]) == [rungs[3]]
    assert listed(rungs).endswith(f"{rungs[-1].name} (or fast)")
    same = ladder(replace(load_recipe("fast"), computation=load_recipe("qa").computation))
    assert same[-1].also == ("qa", "fast")


def test_the_document_lists_them_all() -> None:
    text = Path("docs/speed.md").read_text()
    rows = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| ") and " | " in line]
    names = [rung.name for rung in ladder()]
    assert [row for row in rows if row in names] == names
