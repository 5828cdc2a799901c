"""Losses, scores and speeds of a run: possible at all, and no better than is known without a word about it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from bench.events import EpochFinished, FinalScored, TrialSummarised
from bench.flops import KEYS_VALUES, LAYER
from bench.profile import Profile
from bench.submission.files import README_NAME
from bench.submission.findings import Findings
from bench.submission.run import Run
from bench.workload import load_recipe

FLOP_PER_PARAMETER_AND_TOKEN = 6
"""Forward 2, backward 4: Kaplan et al. 2020, arXiv 2001.08361, section 2.1. Attention, padding and recomputation come
on top, so a training cannot do with less."""
FLOP_WITH_ADAPTERS = 4
"""LoRA's gradients pass through all weights, and have none of their own to be computed but the adapters'."""
RATE_TOLERANCE = 1e-3
SCORE_TOLERANCE = 1e-6


def check_results(run: Run, findings: Findings) -> None:
    """Findings about losses and scores and, of a measured run, about its speed."""
    speed = _Speed.of(run) if run.measured else None
    for line, event in run.lines:
        where = run.at(line)
        if isinstance(event, EpochFinished):
            _check_losses(where, findings, eval_loss=event.eval_loss, train_loss=event.train_loss)
            _check_known(run, "eval_loss", event.eval_loss, event.epoch, where, findings)
            if speed is not None:
                speed.check(event, where, findings)
        elif isinstance(event, TrialSummarised):
            _check_losses(where, findings, eval_loss=event.eval_loss)
        elif isinstance(event, FinalScored):
            _check_losses(where, findings, test_loss=event.test_loss)
            _check_known(run, "test_loss", event.test_loss, run.study.final_epochs, where, findings)
            _check_scores(run, event, where, findings)


def _check_losses(where: str, findings: Findings, **losses: float | None) -> None:
    for name, loss in losses.items():
        if loss is not None and loss < 0:
            findings.add("negative-loss", where, f"{name} is {loss}; a cross-entropy cannot be less than 0.")


def _check_known(run: Run, name: str, loss: float | None, epochs: int, where: str, findings: Findings) -> None:
    """The test split is drawn like the one that selects, so the best known loss holds for both."""
    known = None if run.known is None else run.known.best_within(epochs)
    if run.measured and known is not None and loss is not None and loss < known.eval_loss:
        findings.add(
            "best-known",
            where,
            f"{name} {loss:.4f} after {epochs} epochs is lower than any known up to {known.epochs} epochs, "
            f"{known.eval_loss:g} ({known.source}): say how in {README_NAME}.",
        )


def _check_scores(run: Run, event: FinalScored, where: str, findings: Findings) -> None:
    for name, value in (("exact_match", event.exact_match), ("f1", event.f1)):
        if value is not None and not 0 <= value <= 100 + SCORE_TOLERANCE:
            findings.add("bad-score", where, f"{name} is {value}; it is a percentage.")
    if event.exact_match is not None and event.f1 is not None and event.exact_match > event.f1 + SCORE_TOLERANCE:
        findings.add(
            "bad-score", where, f"Exact match {event.exact_match} is above F1 {event.f1}, which counts it too."
        )
    hits = (event.exact_match or 0.0) * event.examples / 100
    if abs(hits - round(hits)) > SCORE_TOLERANCE * max(1, event.examples):
        findings.add(
            "bad-score",
            where,
            f"Exact match {event.exact_match} of {event.examples} examples would be {hits:.3f} hits.",
        )
    splits = run.record.provenance.get("splits")
    if run.measured and isinstance(splits, dict) and event.examples != splits.get("test"):
        findings.add(
            "bad-score", where, f"{event.examples} examples were scored; the test split has {splits.get('test')}."
        )


def _worked_on(run: Run, parameters: int | None) -> int | None:
    """The parameters that every token meets: all, but where a recipe leaves out what no loss depends on, the matrices
    alone, of the last layer those of keys and values. None: unknown."""
    if load_recipe(run.study.recipe).computation.head == "all":
        return parameters
    model = run.workload.model
    shape = (model.bloom or model.architecture) if run.known is not None else None
    if shape is None:
        return None
    return int(((shape["n_layer"] - 1) * LAYER + KEYS_VALUES) * shape["hidden_size"] ** 2)


@dataclass
class _Speed:
    """Holds rates and seconds of training against each other and against physics. `parameters`: that every token meets.
    `examples`, `tokens`: of an epoch (None: unknown)."""

    parameters: int | None
    examples: int | None
    tokens: float | None
    profile: Profile
    devices: int

    @classmethod
    def of(cls, run: Run) -> _Speed:
        provenance, known = run.record.provenance, run.known
        splits, parameters = provenance.get("splits"), provenance.get("parameters")
        examples = splits.get("train") if isinstance(splits, dict) else None
        own = known.parameters if known is not None else None
        return cls(
            parameters=_worked_on(run, own or (parameters if isinstance(parameters, int) and parameters > 0 else None)),
            examples=examples if isinstance(examples, int) and examples > 0 else None,
            tokens=known.train_tokens if known is not None else None,
            profile=run.profile,
            devices=run.study.devices_per_trial,
        )

    def check(self, event: EpochFinished, where: str, findings: Findings) -> None:
        """One epoch. One that failed has no rates and no losses."""
        if event.eval_loss is None and event.samples_per_s is None:
            return
        train_s = event.phases.train_s
        if not train_s > 0:
            findings.add("out-of-range", where, f"train_s is {train_s}; an epoch that finished was trained.")
            return
        for what, rate, count in (
            ("samples", event.samples_per_s, self.examples),
            ("tokens", event.tokens_per_s, self.tokens),
        ):
            if rate is None:
                findings.add("rate-mismatch", where, f"{what}_per_s is missing from an epoch that was trained.")
            elif count is not None and not math.isclose(rate * train_s, count, rel_tol=RATE_TOLERANCE):
                findings.add(
                    "rate-mismatch",
                    where,
                    f"{rate:.6g} {what}/s in {train_s:.6g} s give {rate * train_s:.6g}; an epoch has {count:.6g}.",
                )
        if self.tokens is None and event.tokens_per_s:
            self.tokens = event.tokens_per_s * train_s  # every epoch of a run is of the same tokens
        self._check_limit(event, train_s, where, findings)

    def _check_limit(self, event: EpochFinished, train_s: float, where: str, findings: Findings) -> None:
        tokens = self.tokens or self.examples  # an example has one token at least
        if self.parameters is None or tokens is None:
            return
        precision = next((p for p in self.profile.precisions if p == event.config.get("precision")), None)
        precision = precision or self.profile.precision
        flop = FLOP_WITH_ADAPTERS if "lora_rank" in event.config else FLOP_PER_PARAMETER_AND_TOKEN
        peak_tflops = self.profile.peak_tflops_in(precision) * self.devices
        least_s = flop * self.parameters * tokens / (peak_tflops * 1e12)
        if train_s < least_s:
            device = self.profile.gpu.name if self.profile.gpu else "a core"
            findings.add(
                "faster-than-physics",
                where,
                f"An epoch took {train_s:.4g} s; {tokens:.0f} tokens through {self.parameters} parameters take "
                f"{least_s:.4g} s at the peak of {self.devices} x {device} in {precision}.",
            )
