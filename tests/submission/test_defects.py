"""Each check of a run against a committed one with one thing forged; nothing else is found in it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.submission import check_submission
from tests.submission.forgeries import (
    EPOCH,
    after_end,
    another_config,
    beyond,
    busy_in_bits,
    copied_winner,
    epoch_twice,
    faster,
    first,
    goes_back,
    grant_closed_early,
    huge_grid,
    in_two_grants,
    last,
    on_an_h200,
    one_grant,
    other_final,
    other_grid,
    out_of_space,
    probe,
    provenance,
    rates,
    renumbered,
    scored_twice,
    shifted,
    shorter_grid,
    skipped_epoch,
    squeezed,
    study,
    unheard_of,
    winner,
    without,
    word_for_a_number,
    word_in_a_trial,
)
from tests.submission.planted import NOW_S, OWN_DATA, Events, copied, forge, found, of_kind

DEFECTS: dict[str, tuple[str, Callable[[Events], None], set[str]]] = {
    "too few trials": ("random", study(samples=13), {"missing-trials"}),
    "too many trials": ("random", study(samples=11), {"too-many-trials"}),
    "a trial left out": ("random", renumbered, {"trial-numbering", "missing-trials"}),
    "no end of a trial": ("random", without("trial_ended", trial="0004"), {"trial-not-ended"}),
    "a stopped trial was whole": ("random", first("trial_ended", state="stopped"), {"state-mismatch"}),
    "a trial goes on after its end": ("random", after_end, {"state-mismatch"}),
    "outside the space": ("random", out_of_space, {"outside-space"}),
    "another hyperparameter": (
        "random",
        first("trial_created", config={"lr": 0.001}),
        {"outside-space", "config-changed"},
    ),
    "another configuration was trained": ("random", another_config, {"config-changed"}),
    "another grid": ("manual", other_grid, {"not-the-grid"}),
    "an epoch twice": ("random", epoch_twice, {"epoch-order"}),
    "an epoch left out": ("random", skipped_epoch, {"epoch-order"}),
    "an epoch too many": ("random", beyond, {"epoch-beyond", "out-of-range"}),
    "a trial that never started": ("random", without("trial_started", trial="0002"), {"inconsistent"}),
    "a clock that goes back": ("random", goes_back, {"inconsistent"}),
    "a lost loss": ("random", last(EPOCH, trial="0002", eval_loss=None), {"state-mismatch"}),
    "a donor's future": ("pbt", copied_winner, {"epoch-order"}),
    "another winner": ("random", winner, {"wrong-winner"}),
    "no final retrain": ("random", lambda e: without("final_scored")(e), {"missing-final"}),
    "a final score too many": ("random", scored_twice, {"missing-final"}),
    "a retrain of another": ("random", other_final, {"missing-final"}),
    "a retrain nobody asked for": ("random", study(final_epochs=0), {"missing-final", "epoch-beyond"}),
    "the future": ("random", shifted(1e8), {"impossible-time"}),
    "before this suite": ("random", shifted(-1e9), {"impossible-time"}),
    "phases longer than time": ("random", squeezed, {"phases-too-long", "overlap"}),
    "fewer devices held": ("random", one_grant, {"overlap", "other-grants"}),
    "idle devices not held": ("random", in_two_grants, {"other-grants"}),
    "devices given back too early": ("random", grant_closed_early, {"overlap"}),
    "much work in little time": ("random", busy_in_bits, {"overlap"}),
    "more devices than the study": ("random", first("grant_opened", devices=3), {"too-many-devices", "other-grants"}),
    "more devices than the machine": ("random", probe(cpus=1), {"too-many-devices"}),
    "more devices a trial": ("random", first("trial_started", devices=2), {"too-many-devices", "overlap"}),
    "a grant of nothing": ("random", last("grant_opened", devices=0), {"inconsistent"}),
    "negative seconds": (
        "random",
        lambda e: of_kind(e, EPOCH)[2]["phases"].update(checkpoint_s=-30.0),
        {"inconsistent"},
    ),
    "negative memory": ("random", first(EPOCH, host_memory_mib=-1.0), {"out-of-range"}),
    "an epoch in no time": ("random", lambda e: of_kind(e, EPOCH)[2]["phases"].update(train_s=0.0), {"out-of-range"}),
    "faster than physics": ("random", faster, {"faster-than-physics"}),
    "samples that are not there": ("random", rates(samples_per_s=2.0), {"rate-mismatch"}),
    "tokens that are not there": ("random", rates(tokens_per_s=2.0), {"rate-mismatch"}),
    "no rates": ("random", last(EPOCH, tokens_per_s=None), {"rate-mismatch"}),
    "a negative loss": ("random", first(EPOCH, eval_loss=-0.1), {"negative-loss"}),
    "a negative training loss": ("random", first(EPOCH, train_loss=-0.1), {"negative-loss"}),
    "a negative test loss": ("random", last("final_scored", test_loss=-0.1), {"negative-loss"}),
    "more than all": ("random", last("final_scored", exact_match=50.0, f1=101.0), {"bad-score"}),
    "a part of a hit": ("random", last("final_scored", exact_match=50.5, f1=60.0), {"bad-score"}),
    "exact match above F1": ("random", last("final_scored", exact_match=50.0, f1=40.0), {"bad-score"}),
    "other examples": ("random", last("final_scored", examples=9), {"bad-score"}),
    "totals only": (
        "random",
        lambda e: e.insert(
            -1,
            {"kind": "trial_summarised", "at_s": e[-1]["at_s"], "trial": "0001", "eval_loss": 9.0, "runtime_s": 1.0,
             "devices": 1, "epochs": 5},
        ),
        {"totals-only"},
    ),
    "cut off": ("random", lambda e: e.__delitem__(slice(40, None)), {"unfinished"}),
    "another profile": ("random", study(profile="h200"), {"profile-mismatch"}),
    "another PyTorch": (
        "random",
        on_an_h200,
        {"profile-mismatch", "too-many-devices"},
    ),
    "no probe": ("random", provenance(probe=None), {"bad-provenance"}),
    "no hashes": ("random", provenance(hashes={"model": "x"}), {"bad-provenance"}),
    "no parameters": ("random", provenance(parameters="many"), {"bad-provenance"}),
    "no splits": ("random", provenance(splits=[]), {"bad-provenance"}),
    "larger splits": ("random", provenance(splits={"train": 1000, "validation": 101, "test": 90}), {"inputs-differ"}),
    "other seeds": ("random", lambda e: e[0]["provenance"]["seeds"].update(init=1), {"seeds-differ"}),
    "simulated, but measured": ("random", provenance(simulated={"curves": "x"}), {"simulated-probe"}),
    "an unknown workload": ("random", study(workload="<script>"), {"unknown-name"}),
    "a seed below 0": ("random", study(seed=-1), {"bad-study"}),
    "settings of another strategy": ("random", study(settings={"grace": 1}), {"bad-study"}),
    "more choices than can be looked up": (
        "random",
        lambda e: e[0]["study"]["space"]["batch_size"].update(choice=list(range(2000))),
        {"bad-study"},
    ),
    "a grid too large to be made": ("manual", huge_grid, {"not-the-grid", "outside-space"}),
    "a hyperparameter unheard of": ("random", unheard_of, {"bad-study"}),
    "a word for a number": ("random", word_for_a_number, {"bad-study"}),
    "a word in a trial": ("random", word_in_a_trial, {"outside-space"}),
    "a shorter grid": ("manual", shorter_grid, {"not-the-grid"}),
    "a name of the suite's": ("random", study(strategy_file="mine.py"), {"strategy-mismatch"}),
}  # fmt: skip


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_forged_run_is_found(defect: str, tmp_path: Path) -> None:
    name, change, codes = DEFECTS[defect]
    folder = forge(copied(tmp_path, name), change)
    assert set(found(folder.parent)) == codes


OF_OWN_DATA: dict[str, tuple[Callable[[Events], None], set[str]]] = {
    "a smaller model": (provenance(parameters=1000), {"inputs-differ"}),
    "other data": (
        lambda e: e[0]["provenance"]["hashes"].update(data="0" * 64),
        {"inputs-differ"},
    ),
    "smaller splits": (
        lambda e: e[0]["provenance"]["splits"].update(train=10),
        {"inputs-differ", "rate-mismatch"},
    ),
    "fewer tokens": (rates(tokens_per_s=0.5), {"rate-mismatch"}),
    "a loss that nobody has had": (first(EPOCH, eval_loss=0.1), {"best-known"}),
}


@pytest.mark.parametrize("defect", OF_OWN_DATA)
def test_the_workloads_own_data_are_known(defect: str, tmp_path: Path) -> None:
    change, codes = OF_OWN_DATA[defect]
    folder = forge(copied(tmp_path, "tpe-tiny-squad-qa-cpu-s1", OWN_DATA), change)
    assert set(found(folder.parent)) == codes


def test_a_better_loss_can_be_accepted(tmp_path: Path) -> None:
    folder = forge(copied(tmp_path, "tpe-tiny-squad-qa-cpu-s1", OWN_DATA), first(EPOCH, eval_loss=0.1))
    assert not found(folder.parent, accept_best=True)
    assert found(folder.parent, "warning", accept_best=True)["best-known"] == 1


WARNINGS: dict[str, tuple[Callable[[Events], None], str]] = {
    "dirty": (lambda e: e[0]["provenance"]["git"].update(clean=False), "dirty-tree"),
    "no commit": (provenance(git=None), "no-commit"),
    "no lock": (provenance(lock=None), "packages-differ"),
    "packages": (lambda e: e[0]["provenance"]["lock"].update(differences=["ray 1 is installed"]), "packages-differ"),
    "container": (provenance(image={"digest": "docker.io/latest"}), "no-container"),
    "interrupted": (
        lambda e: e.__setitem__(
            slice(40, None), [{"kind": "run_interrupted", "at_s": e[40]["at_s"], "reason": "Ctrl-C"}]
        ),
        "interrupted",
    ),
    "own strategy": (study(strategy="mine", strategy_file="mine.py"), "strategy-file"),
    "own strategy without a file": (study(strategy="<script>"), "strategy-file"),
    "own strategy stops early": (study(strategy="mine", strategy_file="mine.py", samples=20), "fewer-trials"),
}


@pytest.mark.parametrize("defect", WARNINGS)
def test_a_warning_is_no_error(defect: str, tmp_path: Path) -> None:
    change, code = WARNINGS[defect]
    folder = forge(copied(tmp_path, "random"), change)
    assert not found(folder.parent)
    assert found(folder.parent, "warning")[code] == 1


def test_a_digest_and_five_seeds_leave_no_warning(tmp_path: Path) -> None:
    folder = forge(copied(tmp_path, "random"), provenance(image={"digest": f"sha256:{'a' * 64}"}))
    assert set(found(folder.parent, "warning")) == {"provisional", "no-statement"}


RESUMED = {"hashes": ("error", "inputs-differ"), "probe": ("warning", "machine-changed")}


@pytest.mark.parametrize("field", RESUMED)
def test_a_resumption_with_other_inputs_or_elsewhere(field: str, tmp_path: Path) -> None:
    def resumed(events: Events) -> None:
        other = {"hashes": {"data": "0" * 64}, "probe": {"cpu_model": "another"}}[field]
        again = events[0]["provenance"] | {field: events[0]["provenance"][field] | other}
        events.insert(-1, {"kind": "run_resumed", "at_s": events[-1]["at_s"], "provenance": again})

    folder = forge(copied(tmp_path, "random"), resumed)
    level, code = RESUMED[field]
    assert set(found(folder.parent)) == ({code} if level == "error" else set())
    assert code in found(folder.parent, level)


OWN = b"raise SystemExit('a strategy was run')\n"
HASHES = {
    "the file's": (hashlib.sha256(OWN).hexdigest(), set(), "it is the one that the journal names"),
    "another's": ("0" * 64, {"strategy-mismatch"}, ""),
    "none": (None, set(), "holds no hash of it"),
}


@pytest.mark.parametrize("place", ["run", "top"])
@pytest.mark.parametrize("which", HASHES)
def test_a_strategy_is_held_against_its_checksum_and_not_run(which: str, place: str, tmp_path: Path) -> None:
    sha256, errors, words = HASHES[which]

    def change(events: Events) -> None:
        study(strategy="mine", strategy_file="/home/somebody/mine.py")(events)
        events[0]["provenance"]["strategy_sha256"] = sha256

    run = forge(copied(tmp_path, "random"), change)
    ((run if place == "run" else run.parent) / "mine.py").write_bytes(OWN)
    verdict = check_submission(run.parent, now_s=NOW_S)
    assert {f.code for f in verdict.findings if f.level == "error"} == errors
    told = [str(f) for f in verdict.findings if f.code == "strategy-file"]
    assert words in " ".join(told)
    assert "somebody" not in " ".join(told)
