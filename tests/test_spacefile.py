"""Search spaces as data: those that come along, and those of a user's own, which may hold anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bench.cli.show import spaces
from bench.errors import UserError
from bench.profile import load_profile
from bench.space import Choice, LogUniform, SearchSpace, Uniform
from bench.spacefile import SPACES, applied, load_space, overridden, space_names, space_options, trainable
from bench.workload import load_recipe, load_workload, workload_names

BASE = load_workload("tiny-squad").search_space


def written(folder: Path, text: str, head: str = 'schema_version = 1\nname = "mine"\nsummary = "of a test"\n') -> str:
    path = folder / "mine.toml"
    path.write_text(head + text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("name", space_names())
@pytest.mark.parametrize("workload", workload_names())
def test_every_space_goes_onto_every_workload_with_a_grid_as_long_as_its_own(name: str, workload: str) -> None:
    assert load_space(name).name == name
    base = load_workload(workload).search_space
    made = applied(name, base)
    assert set(base.names) <= set(made.names)
    assert len(made.grid()) == len(base.grid())
    assert SearchSpace.from_dict(made.to_dict()) == made


def test_the_spaces_of_the_issue_are_there() -> None:
    names = {n for name in space_names() for n in load_space(name).space}
    assert names >= {
        "optimizer", "lr_scheduler", "warmup_fraction", "max_grad_norm", "gradient_accumulation", "lora_rank",
        "lora_alpha", "lora_dropout", "precision", "zero_stage",
    }  # fmt: skip
    assert {path.stem for path in SPACES.iterdir()} == set(space_names())


def test_lora_has_ten_times_the_learning_rates_and_keeps_the_rest() -> None:
    made = applied("lora", BASE)
    assert made["learning_rate"] == LogUniform("learning_rate", 2e-3, 8e-2, (4e-3, 8e-2, 2e-3))
    assert made.names[:3] == BASE.names
    assert made["batch_size"] == BASE["batch_size"]


def test_one_factor_moves_a_range_and_two_move_its_ends(tmp_path: Path) -> None:
    one = applied(written(tmp_path, "[space.learning_rate]\ntimes = 3"), BASE)["learning_rate"]
    assert one == LogUniform("learning_rate", 6e-4, 2.4e-2, (1.2e-3, 2.4e-2, 6e-4))
    two = applied(written(tmp_path, "[space.learning_rate]\ntimes = [0.5, 2]"), BASE)["learning_rate"]
    assert two == LogUniform("learning_rate", 1e-4, 1.6e-2, BASE["learning_rate"].grid)  # type: ignore[arg-type]


def test_alone_leaves_nothing_of_the_workloads(tmp_path: Path) -> None:
    text = "[space.learning_rate]\ntimes = 1\n[space.batch_size]\nchoice = [4]\n[space.lora_rank]\nchoice = [2]\n"
    head = 'schema_version = 1\nname = "mine"\nsummary = "of a test"\nalone = true\n'
    assert applied(written(tmp_path, text, head), BASE).names == ("learning_rate", "batch_size", "lora_rank")
    with pytest.raises(UserError, match="batch_size is missing"):
        applied(written(tmp_path, "[space.learning_rate]\ntimes = 1", head), BASE)


def test_a_range_without_a_grid_has_its_middle_tried(tmp_path: Path) -> None:
    text = "[space.max_grad_norm]\nlog_uniform = [0.1, 10]\n[space.warmup_fraction]\nuniform = [0, 0.2]\n"
    made = applied(written(tmp_path, text), BASE)
    assert (made["max_grad_norm"].grid, made["warmup_fraction"].grid) == ((1.0,), (0.1,))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[space.lora_rnk]\nchoice = [2]", "did you mean 'lora_rank'"),
        ("[space.optimizer]\nchoice = ['adam']", "it is one of adamw_torch, adafactor"),
        ("[space.optimizer]\nchoice = [1]", "optimizer cannot be 1"),
        ("[space.optimizer]\nuniform = [0, 1]", "optimizer is a word: give its values as 'choice'"),
        ("[space.lora_rank]\nuniform = [1, 8]", "lora_rank is a whole number"),
        ("[space.lora_dropout]\nuniform = [0, 0.1]", "lora_dropout means nothing without lora_rank"),
        ("[space.lora_rank]\nchoice = [0]", "lora_rank cannot be 0"),
        ("[space.lora_rank]\nchoice = []", "no values"),
        ("[space.lora_rank]\nchoice = [2, 2]", "repeat"),
        ("[space.lora_rank]\nchoice = [2]\ngrid = [4]", "the grid of lora_rank is"),
        ("[space.lora_rank]\nchoice = 2", "mine.toml: 'choice' of lora_rank is 2; give a list, such as [2]"),
        ("[space.lr_scheduler]\nchoice = 'linear'", "'choice' of lr_scheduler is 'linear'; give a list, such as ['lin"),
        ("[space.lr_scheduler]\nchoice = ['linear']\ngrid = 'linear'", "'grid' of lr_scheduler is 'linear'; give a l"),
        ("[space.warmup_fraction]\nuniform = [0, 0.1]\ngrid = 0.1", "'grid' of warmup_fraction is 0.1; give a list"),
        ("[space.lora_rank]\nchoice = [[2]]", "mine.toml"),
        ("[space.lora_rank]\nvalues = [2]", "expected one of 'choice', 'log_uniform' and 'uniform'"),
        ("[space.warmup_fraction]\nuniform = [0, 1]", "warmup_fraction cannot be 1"),
        ("[space.warmup_fraction]\nuniform = [0.2, 0.1]", "lower < upper"),
        (
            "[space.warmup_fraction]\nuniform = [0.2]",
            "mine.toml: 'uniform' of warmup_fraction is [0.2]; give a list of",
        ),
        ("[space.warmup_fraction]\nuniform = [0, 0.1, 0.2]", "of two numbers, lower and upper"),
        ("[space.warmup_fraction]\nuniform = 0.2", "'uniform' of warmup_fraction is 0.2; give a list of two numbers"),
        ("[space.warmup_fraction]\nuniform = 'ab'", "'uniform' of warmup_fraction is 'ab'; give a list of two numbers"),
        ("[space.warmup_fraction]\nuniform = ['a', 'b']", "is ['a', 'b']; give a list of two numbers"),
        ("[space.warmup_fraction]\nlog_uniform = ['0.1', '0.2']", "'log_uniform' of warmup_fraction is ['0.1', '0.2']"),
        ("[space.warmup_fraction]\nuniform = [false, true]", "is [False, True]; give a list of two numbers"),
        ("[space.warmup_fraction]\nuniform = [" + "0.1, " * 1000 + "]", "…; give a list of two numbers"),
        ("[space.max_grad_norm]\nlog_uniform = [0.0, 10.0]", "give a lower bound of more than 0"),
        ("[space.max_grad_norm]\nlog_uniform = [3.0, 1.0]", "give a smaller lower or a larger upper bound"),
        ("[space.warmup_fraction]\nuniform = [0, 0.1]\ngrid = ['a']", "it must hold numbers"),
        ("[space.lora_rank]\nchoice = [1979-05-27]", "lora_rank cannot be datetime.date"),
        ("[space.lora_rank]\nchoice = [1" + "0" * 400 + "]", "mine.toml"),
        ("[space.warmup_fraction]\nlog_uniform = [0, 0.1]", "0 < lower < upper"),
        ("[space.warmup_fraction]\nuniform = [0, nan]", "lower < upper"),
        ("[space.learning_rate]\ntimes = 0", "'times' of learning_rate is 0"),
        ("[space.learning_rate]\ntimes = 'ten'", "'times' of learning_rate is 'ten'"),
        ("[space.learning_rate]\ntimes = [1, 2, 3]", "one for each bound"),
        ("[space.learning_rate]\ntimes = 2\ngrid = [1]", "give it alone"),
        ("[space.lora_rank]\ntimes = 2", "needs a range of the workload's"),
        ("[space.learning_rate]\ntimes = [1e3, 1]", "0 < lower < upper"),
        ("[space]\nlora_rank = 3", "mine.toml"),
        ("colour = 1", "unknown key 'colour'; known: alone, name, schema_version, space, summary."),
        ("schema_versoin = 1", "did you mean 'schema_version'?"),
        ("[space.lora_rank", "is not TOML"),
        ("x = " + "[" * 5000, "mine.toml"),
        ("# " + "x" * 70_000, "larger than the 65536 bytes"),
        ("[space.weight_decay]\nchoice = [" + ", ".join(f"{i}.0" for i in range(2000)) + "]", "more than 10000"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused_in_one_sentence(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(UserError) as caught:
        applied(written(tmp_path, text), BASE)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value).strip()
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("name", ["", " mine", "mine ", "a; recipe: b", "a\\nb", "\\u001b[31m", "x" * 61, "-x", "a/b"])
def test_a_space_is_not_called_what_reports_cannot_show(tmp_path: Path, name: str) -> None:
    head = f'schema_version = 1\nname = "{name}"\nsummary = "of a test"\n'
    with pytest.raises(UserError, match="a search space cannot have the name") as caught:
        load_space(written(tmp_path, "[space.lora_rank]\nchoice = [3]", head))
    assert str(caught.value).isprintable()


def test_names_and_paths_that_are_not_there() -> None:
    with pytest.raises(UserError, match="no search space 'lorra'; did you mean 'lora'"):
        load_space("lorra")
    with pytest.raises(UserError, match=r"no search space file none\.toml"):
        load_space("none.toml")


def test_the_command_line_overrides_a_space_and_says_what_it_cannot(tmp_path: Path) -> None:
    made = overridden(BASE, file="lora", lr_lower=1e-3, lr_upper=None, bs_choices=(4,), wd_choices=None)
    assert isinstance(made["learning_rate"], LogUniform)
    assert (made["learning_rate"].lower, made["batch_size"]) == (1e-3, Choice("batch_size", (4,)))
    mine = written(tmp_path, "[space.weight_decay]\nlog_uniform = [1e-3, 1]")
    with pytest.raises(UserError, match="weight_decay is given here in another way than as choices"):
        overridden(BASE, file=mine, wd_choices=(0.1,))


@pytest.mark.parametrize("name", [None, *space_names()])
def test_the_options_that_make_a_space_make_it(name: str | None) -> None:
    made = overridden(BASE, file=name, bs_choices=(2, 4))
    words = space_options(made, BASE)
    assert words == [*(["--space", name] if name else []), "--bs-choices", "2 4"]


def test_what_the_hardware_leaves_out_needs_no_option() -> None:
    made, _ = trainable(applied("performance", BASE), load_profile("cpu"), load_recipe("qa"), deepspeed=False)
    assert space_options(made, BASE) == ["--space", "performance"]


def test_a_space_of_ones_own_leaves_its_file_to_be_named(tmp_path: Path) -> None:
    mine = applied(written(tmp_path, "[space.lora_rank]\nchoice = [3]"), BASE)
    assert space_options(mine, BASE) == ["--space", "FILE.toml"]


def test_what_the_hardware_does_not_train_is_left_out_and_said() -> None:
    qa = load_recipe("qa")
    for profile, kept in (("cpu", ("fp32", "bf16")), ("v100", ("fp32", "fp16")), ("a100", ("fp32", "bf16", "fp16"))):
        space, said = trainable(applied("performance", BASE), load_profile(profile), qa, deepspeed=False)
        assert space["precision"] == Choice("precision", kept, ("fp32",))
        assert (said is None) == (profile == "a100")
    only = SearchSpace((Choice("precision", ("fp16",)),))
    with pytest.raises(UserError, match="Profile cpu trains in fp32, bf16"):
        trainable(only, load_profile("cpu"), qa, deepspeed=False)


@pytest.mark.parametrize(
    ("names", "recipe", "deepspeed", "told"),
    [
        (("max_grad_norm",), "workshop", False, "Recipe workshop does not clip"),
        (("zero_stage",), "qa", True, "zero_stage cannot be searched together with --deepspeed"),
        (("zero_stage", "optimizer"), "qa", False, "optimizer cannot be searched together with zero_stage"),
        (("optimizer", "lora_rank"), "qa", True, "optimizer cannot be searched together with --deepspeed"),
    ],
)
def test_what_would_have_no_effect_or_cannot_be_trained_is_refused(
    names: tuple[str, ...], recipe: str, deepspeed: bool, told: str
) -> None:
    space = SearchSpace(tuple(Choice(name, (1,)) for name in names))
    with pytest.raises(UserError, match=told):
        trainable(space, load_profile("cpu"), load_recipe(recipe), deepspeed=deepspeed)


@pytest.mark.parametrize("deepspeed", [True, False])
def test_adapters_may_be_trained_under_zero(deepspeed: bool) -> None:
    names = ("lora_rank",) if deepspeed else ("lora_rank", "zero_stage")
    space = SearchSpace(tuple(Choice(name, (1,)) for name in names))
    assert trainable(space, load_profile("cpu"), load_recipe("qa"), deepspeed=deepspeed) == (space, None)


def test_the_command_lists_and_shows_them(tmp_path: Path) -> None:
    def told(*words: str) -> str:
        result = CliRunner().invoke(spaces, words, catch_exceptions=False)
        assert result.exit_code == 0
        return result.output

    listing = told()
    assert all(name in listing for name in space_names())
    shown: Any = told("lora", "--workload", "bloom560m-squad", "--json")
    assert '"log_uniform": [\n      5e-05,\n      0.002\n    ]' in shown
    assert "lora_rank" in told(written(tmp_path, "[space.lora_rank]\nchoice = [3]"))
    assert Uniform("lora_dropout", 0.0, 0.2, (0.0,)) == applied("lora", BASE)["lora_dropout"]
