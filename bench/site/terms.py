"""What every term on the pages means, and which columns it explains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bench.hyperparameters import HYPERPARAMETERS, names
from bench.table_html import Link


@dataclass(frozen=True, kw_only=True)
class Term:
    """`anchor`: its place on the page of terms. `short`: one sentence. `more`: paragraphs. `formula`: as text.
    `columns`: keys of table columns that it explains."""

    anchor: str
    name: str
    short: str
    more: tuple[str, ...] = ()
    formula: str = ""
    columns: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Chapter:
    anchor: str
    name: str
    terms: tuple[Term, ...]


def column_links(page: str = "terms.html") -> Mapping[str, Link]:
    """By column key, where the terms' page explains it. `page`: its address as the linking page sees it."""
    return {key: Link(href=f"{page}#{t.anchor}", title=t.short) for t in all_terms() for key in t.columns}


def all_terms() -> Iterator[Term]:
    for chapter in CHAPTERS:
        yield from chapter.terms


_RANKING = (
    Term(
        anchor="headline-ratio",
        name="Headline ratio (cost ratio to target)",
        short="What a strategy had spent when it was first as good as the manual grid's winner, over what the grid had "
        "spent; below 1 is cheaper than the grid.",
        more=(
            "It is computed seed by seed and summarised by the geometric form of the median; it is not a ratio of "
            "means. Rows are ranked by it.",
            "A run that never reached the target counts as infinite and is kept: where half of the seeds or more miss, "
            "the ratio is shown as “never”.",
        ),
        formula="ρ = exp( median over seeds of ln( T(strategy) / T(manual) ) )",
        columns=("rank", "ratio_shown", "ratio"),
    ),
    Term(
        anchor="shuffled-grid",
        name="Over shuffled grid",
        short="The headline ratio with another denominator: what the grid would have cost in a random order, on "
        "average, until it was as good as the target.",
        more=("Where in the grid its winner stands is chance, or a person's foresight; this ratio is free of either.",),
        columns=("over_shuffled",),
    ),
    Term(
        anchor="interval",
        name="Interval",
        short="A 95 % percentile bootstrap interval over seeds, from 10,000 resamples, paired by seed.",
        more=(
            "It says how much the number could move with other seeds, not with another workload or machine. It stands "
            "in brackets behind its estimate, and is left out under five seeds, where it would mean nothing.",
        ),
    ),
    Term(
        anchor="target",
        name="Target",
        short="The loss that counts as good enough: the median loss of the manual grid's winners, fixed before the "
        "strategies are compared.",
        formula="θ = median loss of the manual grid's winners",
        columns=("target_loss",),
    ),
    Term(
        anchor="cost-to-target",
        name="Cost to target",
        short="What a search had spent when a trial at full fidelity was first as good as the target; infinite where "
        "none was.",
        formula="T(θ) = inf { c : y*(c) ≤ θ }",
        columns=("target_device_min",),
    ),
    Term(
        anchor="success-rate",
        name="Success rate (reached)",
        short="The share of seeds whose search reached the target before it ended.",
        columns=("success_rate",),
    ),
    Term(
        anchor="ert",
        name="Expected running cost (ERT, cost of a success)",
        short="What all seeds together spent until they reached the target or ended, over the number that reached it.",
        more=("What one success costs on average if one starts again after each miss. Infinite without a success.",),
        formula="ERT = Σ min(T, B) / number of successes, with B what a run spent in all",
        columns=("expected_device_min",),
    ),
    Term(
        anchor="cost-ratio",
        name="Cost ratio (of the whole search)",
        short="What the whole search cost, over what the whole manual grid cost, on the same workload, recipe, profile "
        "and machine.",
        more=("It says nothing of how good the search was; the headline ratio does. Never taken across profiles.",),
        formula="cost(strategy) / cost(manual)",
        columns=("cost_ratio", "ratio_allocated", "ratio_busy", "ratio_train"),
    ),
    Term(
        anchor="manual",
        name="Manual grid",
        short="The baseline: a person's grid of configurations, each trained in full, one after the other.",
        more=("It is charged for all of its grid, and its cost to the target is that of the order in which it ran.",),
    ),
    Term(
        anchor="cheaper",
        name="Probability of being cheaper than manual",
        short="The share of seeds on which a strategy reached the target for less than the grid did, an equal pair "
        "counted one half; with its interval, in the CSV and JSON files.",
        more=(
            "A strategy is said to win only where the interval lies above 0.5 and the estimate is at least 0.75 "
            "(Bouthillier et al. 2021).",
        ),
        columns=("p_cheaper_shown", "p_cheaper"),
    ),
    Term(
        anchor="control",
        name="Control (random search)",
        short="The loss that the best of so many trials drawn at random is expected to have: what a strategy must beat "
        "to be better than chance.",
        formula="E[min of n] = Σ over i of C(N−i, n−1) / C(N, n) × y(i), the N losses y sorted upwards (Tang et al. "
        "2020)",
    ),
    Term(
        anchor="performance-profile",
        name="Performance profile, score",
        short="Over several boards: the share of them on which a strategy's cost to the target is within a factor τ of "
        "the cheapest strategy's there.",
        more=(
            "Cheapest is that share at τ = 1, within twice at τ = 2. The score is the mean share between τ = 1 and "
            "τ = 4: 1 is the cheapest everywhere (Dolan, Moré 2002).",
        ),
        formula="score = 1/(4 − 1) × ∫ share(τ) dτ from 1 to 4",
        columns=("boards", "profile_score", "cheapest_share", "within_twice_share"),
    ),
    Term(
        anchor="provisional",
        name="Provisional",
        short="A row with too few seeds for a claim: fewer than 5 measured ones, or than 200 simulated ones.",
        more=("Differences between provisional rows may be chance. The word stands beside the number of seeds.",),
        columns=("seeds_shown", "seeds"),
    ),
)

_COSTS = (
    Term(
        anchor="device-minutes",
        name="Device-minutes, GPU-minutes",
        short="Devices times minutes: two GPUs held for three minutes are six GPU-minutes.",
        more=(
            "On a CPU profile a device is a CPU core, and device-minutes are core-minutes. They are not GPU-minutes "
            "and are never compared with them.",
        ),
    ),
    Term(
        anchor="allocated",
        name="Allocated",
        short="Device-minutes held, whether the devices worked or not: what a cluster bills. The number that is "
        "ranked.",
        formula="Σ over grants of devices × (released − granted) / 60",
        columns=("allocated_device_min",),
    ),
    Term(
        anchor="busy",
        name="Busy",
        short="Device-minutes in which trials worked: start-up, training, evaluation, checkpoints and restores.",
        formula="Σ over trial segments of devices × wall seconds / 60",
        columns=("busy_device_min",),
    ),
    Term(
        anchor="idle",
        name="Idle",
        short="Held and not at work: allocated less busy.",
        columns=("idle_device_min",),
    ),
    Term(
        anchor="utilisation",
        name="Utilisation",
        short="The share of the allocated time in which devices were busy.",
        formula="busy / allocated",
        columns=("utilisation",),
    ),
    Term(
        anchor="queue",
        name="Queue",
        short="Waiting for devices to be granted; reported beside the costs and never added to them.",
    ),
    Term(
        anchor="search-cost",
        name="Search cost",
        short="What was spent until the search ended. The final retrain is not in it.",
        columns=("search_wall_min", "devices"),
    ),
    Term(
        anchor="final-retrain",
        name="Final retrain",
        short="The winner trained once more, for more epochs and from a fresh seed, and scored on the test split: a "
        "line of its own in every account.",
        columns=("final_device_min",),
    ),
    Term(
        anchor="phases",
        name="Phases",
        short="What busy time went to: start-up (imports, model and data), train, eval, checkpoint, restore and lost.",
        more=(
            "Lost is time spent on work that an interruption undid; it is charged all the same. Not split is the time "
            "of a trial of which only the total is known.",
        ),
        columns=(
            "startup_device_min", "train_device_min", "eval_device_min", "checkpoint_device_min", "restore_device_min",
            "lost_device_min", "unsplit_device_min", "startup_share", "purpose",
        ),
    ),
)  # fmt: skip

_QUALITY = (
    Term(
        anchor="loss",
        name="Loss",
        short="Mean cross-entropy in nats a labelled token; lower is better.",
        more=(
            "Loss in search is that of the search's winner on the validation split, which chose it and is therefore "
            "flattering. Loss on the test split is that of the retrained winner, on examples that nothing was chosen "
            "by.",
        ),
        columns=("eval_loss", "test_loss", "final_loss"),
    ),
    Term(
        anchor="em-f1",
        name="Exact match, F1",
        short="The share of test questions answered word for word, and the mean overlap of words with the right "
        "answer, in per cent.",
        columns=("exact_match_percent", "f1_percent"),
    ),
    Term(
        anchor="strategy",
        name="Strategy, run type",
        short="The way in which a search chooses configurations and stops trials. Two settings of one strategy are two "
        "rows.",
        columns=("label", "run_type", "strategy"),
    ),
    Term(
        anchor="hyperparameters",
        name="Hyperparameters (lr, bs, wd ...)",
        short="What is searched: learning rate (lr), batch size (bs), weight decay (wd), and what else a study's space "
        "names.",
        more=("Others: " + ", ".join(f"{h.name.replace('_', ' ')} ({h.short})" for h in HYPERPARAMETERS[3:]) + ".",),
        columns=names(),
    ),
    Term(
        anchor="trial",
        name="Trial, combo",
        short="One configuration of hyperparameters and its training; combos are numbered in the order of creation.",
        columns=("combo", "epochs", "runtime_s"),
    ),
    Term(
        anchor="full-fidelity",
        name="Full fidelity",
        short="A trial trained for all epochs of the study. Only its loss may win.",
        more=("A loss after fewer epochs may steer a search; it is no incumbent.",),
        columns=("full_fidelity",),
    ),
    Term(
        anchor="incumbent",
        name="Incumbent",
        short="The best loss at full fidelity that a search had finished by a given cost: a step function, never "
        "interpolated.",
        more=("The last incumbent is the winner; a star marks it in tables.",),
        formula="y*(c)",
    ),
    Term(
        anchor="model-based",
        name="Model-based",
        short="Whether a model of earlier results chose a configuration, or chance did.",
        columns=("model_based",),
    ),
    Term(
        anchor="changes",
        name="Changes",
        short="How often a trial went on with another configuration, from another trial's weights, as in population "
        "based training.",
        columns=("config_changes",),
    ),
    Term(
        anchor="states",
        name="States of a trial",
        short="How a trial ended: completed, stopped, nan, oom, timeout or failed; every one is shown, none is "
        "skipped.",
        more=(
            "Completed: it reached its last epoch. Stopped: the strategy ended it early. Nan: its loss was not a "
            "finite number. Oom: it ran out of memory. Timeout: it hung. Failed: it raised an error, or its process "
            "died too often. Summarised: only its totals are known.",
            "Without an end it is waiting, running, paused (it gave its devices back) or lost (its process died and it "
            "has not gone on).",
            "Nan, oom, timeout and failed are failures; the leaderboard counts them.",
        ),
        columns=("state", "failures"),
    ),
)

_ORIGIN = (
    Term(
        anchor="image",
        name="Image",
        short="The container's image that runs were made in, by the beginning of its digest; none: with the software "
        "that was installed on the machine.",
        more=(
            "The digest is the SHA-256 of the image's root file system, read from the image itself: two builds from "
            "the same inputs have the same.",
        ),
        columns=("image_shown",),
    ),
    Term(
        anchor="measured",
        name="Measured",
        short="Models were trained, on the machine that the page names. A row is of one machine: two machines of one "
        "profile need not be equally fast.",
        columns=("machine", "date"),
    ),
    Term(
        anchor="simulated",
        name="Simulated",
        short="The same strategies with the same scheduling, in virtual time on recorded learning curves; no model was "
        "trained.",
        more=(
            "Simulated runs are on boards of their own and never ranked among measured ones. Their pages name the "
            "curves and how wrong these may be.",
        ),
    ),
    Term(
        anchor="leave-one-out",
        name="Leave-one-out error",
        short="How far the model of the curves is off for a recorded configuration that it was not shown.",
        more=("Each recorded configuration is left out in turn, and predicted from the others.",),
    ),
    Term(
        anchor="approximate",
        name="Approximate",
        short="Said of simulated population based training: trials take over each other's weights in mid-run, which "
        "recorded curves cannot replay exactly.",
    ),
    Term(
        anchor="seed",
        name="Seed",
        short="The number that a run's random choices come from: search, training and the order of data change "
        "together and are recorded apart.",
        columns=("seed",),
    ),
    Term(
        anchor="workload",
        name="Workload, recipe, profile",
        short="The model and data that are tuned; the way in which they are trained; and the hardware, as facts.",
        more=("Runs are compared only where all three, the data and the plan of epochs are the same.",),
        columns=("workload", "recipe", "profile"),
    ),
    Term(
        anchor="record",
        name="Record and journal",
        short="The journal holds every event of a run; the record is computed from it and can be made again at any "
        "time, byte for byte.",
        more=("Each run's page offers both, with their SHA-256 digests.",),
    ),
)

CHAPTERS = (
    Chapter(anchor="ranking", name="How rows are ranked", terms=_RANKING),
    Chapter(anchor="costs", name="What a search costs", terms=_COSTS),
    Chapter(anchor="quality", name="How good it is", terms=_QUALITY),
    Chapter(anchor="origin", name="Where a number comes from", terms=_ORIGIN),
)
