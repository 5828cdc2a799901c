"""Learning curves: the loss of each trial after each of its epochs, and how it ended."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from bench.pictures import parts
from bench.pictures.palette import BLUE, GREY, ORANGE, PINK, VERMILLION
from bench.pictures.values import MOST_POINTS, Rows, config_at, told
from bench.record import Record
from bench.trials import Trial

if TYPE_CHECKING:
    import altair as alt

HEIGHT = 340

COLOURS = {"winner": VERMILLION, "completed": BLUE, "stopped": GREY, "failed": PINK, "not over": ORANGE}
DASHED = {"winner": [1, 0], "completed": [1, 0], "stopped": [5, 3], "failed": [2, 2], "not over": [9, 3, 2, 3]}
_EXTENT = f"extent(pluck(data('{parts.ROWS}'), 'epoch'))"
EPOCHS = f"sequence({_EXTENT}[0], {_EXTENT}[1] + 1, max(1, ceil(({_EXTENT}[1] - {_EXTENT}[0]) / (width / 50))))"
"""Ticks: whole epochs, as many as there is room for."""
TROUBLE = ("nan", "oom", "timeout", "failed")
TROUBLE_WORDS = {"nan": "loss not finite", "oom": "out of memory"}


def outcome(record: Record, trial: Trial) -> str:
    """One of `COLOURS`."""
    if record.winner is not None and trial.trial == record.winner.trial:
        return "winner"
    if trial.state in TROUBLE:
        return "failed"
    return trial.state if trial.state in ("completed", "stopped") else "not over"


def rows(record: Record) -> Rows:
    """A row for each epoch of each trial of the search, and one where a trial ended in trouble after its last epoch;
    `mark` says what a row is beyond a point: a loss that is not finite, trouble, weights taken over.

    From 10,000 rows on only every k-th epoch is there, beside each trial's first, last and marked ones, and of more
    trials than that leaves room for only every m-th and the winner.
    """
    drawn = [list(_trial_rows(record, trial)) for trial in record.search_trials]
    total = sum(map(len, drawn))
    note = ""
    if total > MOST_POINTS:
        step = 2
        while step < 64 and _size(drawn, step) > MOST_POINTS:
            step *= 2
        drawn = [[row for i, row in enumerate(own) if _stays(own, i, step)] for own in drawn]
        every = -(-sum(map(len, drawn)) // MOST_POINTS)
        shown = [own for i, own in enumerate(drawn) if i % every == 0 or (own and own[0]["outcome"] == "winner")]
        note = f"{total} points: one epoch in {step} is drawn" + (
            f", and {len(shown)} of {len(drawn)} trials" if every > 1 else ""
        )
        drawn = shown
    found = [row for own in drawn for row in own]
    lost = sum(row["eval_loss"] is None for row in found)
    notes = [note, f"\u00d7 at the top: {lost} without a loss" if lost else ""]
    if found and any(notes):
        found[0]["note"] = "; ".join(filter(None, notes))
    return found


def _size(drawn: list[Rows], step: int) -> int:
    return sum(_stays(own, i, step) for own in drawn for i in range(len(own)))


def _stays(own: Rows, index: int, step: int) -> bool:
    return index % step == 0 or index == len(own) - 1 or bool(own[index]["mark"])


def _trial_rows(record: Record, trial: Trial) -> Iterator[dict[str, Any]]:
    changes = {change.epoch: change for change in trial.history}
    donors = {t.trial: t.number for t in record.search_trials}
    common = {"trial": trial.number, "outcome": outcome(record, trial), "state": trial.state}
    if trial.detail:
        common["detail"] = trial.detail
    latest = {point.epoch: point for point in trial.curve}  # an epoch that was lost and made again counts once
    for epoch, point in sorted(latest.items()):
        mark, text = "", ""
        if point.eval_loss is None:
            mark, text = "trouble", "loss not finite"
        elif epoch in changes:
            change = changes[epoch]
            mark = "takeover"
            text = f"then the weights of trial {donors.get(change.donor, '?')} after epoch {change.donor_epoch}"
        yield common | {
            "epoch": epoch, "eval_loss": point.eval_loss, "config": told(config_at(trial, epoch)), "mark": mark,
            "what": text,
        }  # fmt: skip
    ended_early = trial.state in TROUBLE and not (latest and latest[max(latest)].eval_loss is None)
    if ended_early:
        epoch = min(trial.epochs + 1, max(int(record.study["epochs"]), trial.epochs))
        yield common | {
            "epoch": epoch, "eval_loss": None, "config": told(trial.config), "mark": "trouble",
            "what": TROUBLE_WORDS.get(trial.state, trial.state),
        }  # fmt: skip


def chart(several: bool) -> alt.LayerChart:
    import altair as alt

    outcomes = list(COLOURS)
    hover = parts.hovered(several)
    base = parts.numbered(several).encode(
        x=alt.X(
            "epoch:Q",
            title="Epoch",
            axis=alt.Axis(values=alt.ExprRef(EPOCHS), format="d"),
            scale=alt.Scale(nice=False, padding=10),
        ),
        tooltip=parts.tips(
            ("trial:O", "trial"),
            ("epoch:O", "epoch"),
            ("eval_loss:Q", "eval loss (nats a token)", ".4f"),
            ("config:N", "configuration"),
            ("state:N", "state"),
            ("detail:N", "detail"),
            ("what:N", "here"),
            several=several,
        ),
        detail=["trial:N", *(["run:N"] if several else [])],
    )
    patterns = alt.Scale(domain=outcomes, range=[DASHED[o] for o in outcomes])
    if several:
        base = base.encode(color=parts.by_run())
        dash = alt.StrokeDash("outcome:N", scale=patterns, legend=None)
    else:
        scale = alt.Scale(domain=outcomes, range=[COLOURS[o] for o in outcomes])
        shown = parts.legend(values=parts.present("outcome", outcomes), symbolType="stroke")
        base = base.encode(color=alt.Color("outcome:N", scale=scale, legend=shown))
        dash = alt.StrokeDash("outcome:N", scale=patterns, legend=shown)
    scored = base.transform_filter("!isValid(datum.eval_loss) || datum.eval_loss > 0").encode(
        y=parts.losses(),
        opacity=alt.when(hover).then(alt.value(parts.FULL_OPACITY)).otherwise(alt.value(parts.FADED)),
    )
    lines = scored.mark_line(invalid="break-paths-filter-domains").encode(
        strokeDash=dash,
        strokeWidth=alt.when("datum.outcome == 'winner'").then(alt.value(3.5)).otherwise(alt.value(1.3)),
    )
    points = scored.transform_filter("isValid(datum.eval_loss)").mark_point(filled=True, size=22).add_params(hover)
    takeovers = scored.transform_filter("datum.mark == 'takeover'").mark_point(
        filled=False, shape="diamond", size=110, strokeWidth=1.5
    )
    trouble = base.transform_filter("datum.mark == 'trouble'").mark_point(
        shape="cross", angle=45, size=70, strokeWidth=1, filled=True, y=5, opacity=1
    )
    layers = [lines, points, takeovers, trouble, *parts.remarks("No trial finished an epoch.", several=several)]
    return parts.layered(layers, HEIGHT)
