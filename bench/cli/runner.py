"""Builds studies from options, runs them with a live view, and finds the baseline that they are measured against."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli.simulation_options import NAMES, check_support, given, load_curves, pair
from bench.cli.simulation_options import study as virtual_study
from bench.container.inside import IMAGE_FILE
from bench.errors import UserError
from bench.events import FINAL_TRIAL, Event, TrialEnded
from bench.hyperparameters import midway
from bench.journal import JOURNAL_NAME
from bench.metrics import DEFAULT, parse_metrics
from bench.probe import Probe, probe_machine, require_profile
from bench.profile import Profile, load_profile
from bench.record import Record, record_run
from bench.run import EXIT_STALLED, Interrupted, plan_study, run_folder, run_study
from bench.space import SearchSpace
from bench.spacefile import load_space, overridden, trainable
from bench.strategy import GridPlan, Strategy, load_strategy
from bench.study import MOST_ON_A_DEVICE, EngineName, Study
from bench.trials import RunState
from bench.workload import Recipe, load_recipe, load_workload
from bench.zero import check_deepspeed

if TYPE_CHECKING:
    from bench.curve_model import CurveModel
    from bench.curves import CurveSet

WORKLOAD = "tiny-squad"
RECIPE = "qa"


def program() -> str:
    """How this program was called, such that it can be typed again."""
    called = Path(sys.argv[0])
    if called.name == "__main__.py":
        return f"{os.path.relpath(sys.executable)} -m bench"
    return called.name if shutil.which(called.name) == str(called) else os.path.relpath(called)


class Runner:
    """Runs studies on this machine and keeps them under `results`. `fresh`: complete runs are run again."""

    def __init__(self, results: Path, *, fresh: bool = False) -> None:
        self._results = results
        self._fresh = fresh
        self._refreshed: set[Path] = set()
        self._said: set[str] = set()
        self._curve_sets: dict[tuple[str | None, ...], CurveSet] = {}
        self._models: dict[str, CurveModel] = {}

    @cached_property
    def _probe(self) -> Probe:
        probe = probe_machine()
        # Seconds, but a PyTorch without code for the GPU is better found now than in a trial.
        return probe_machine(deep=True) if probe.gpus else probe

    def study(
        self,
        *,
        strategy_name: str,
        seed: int,
        engine: EngineName | None,
        profile: str | None,
        workload: str | None,
        recipe: str | None,
        samples: int,
        epochs: int | None,
        final_epochs: int | None,
        space: str | None = None,
        lr_lower: float | None,
        lr_upper: float | None,
        bs_choices: tuple[int, ...] | None,
        wd_choices: tuple[float, ...] | None,
        settings: Sequence[str],
        model: Path | None,
        dataset: Path | None,
        dataset_name: str | None,
        deepspeed: Path | None,
        devices: int | None,
        trial_devices: int | None = None,
        metric: str | None = None,
        trials_per_device: int = 1,
        **others: Any,
    ) -> Study:
        """The study that the options ask for. Raises UserError on the first option that cannot be had."""
        simulated = given(others)
        metrics = DEFAULT if metric is None else parse_metrics(metric)
        load_strategy(strategy_name).check_metrics(metrics)
        if engine == "virtual":
            if trials_per_device > 1:
                raise UserError(
                    "--trials-per-device cannot be had in virtual time: curves do not say how trials slow each other."
                )
            trained = {"--model": model, "--dataset": dataset, "--deepspeed": deepspeed, "--recipe": recipe}
            for option, value in trained.items():
                if value is not None:
                    raise UserError(
                        f"{option} cannot be had in virtual time: the curves (--curves) fix what is trained."
                    )
            simulated_study = self._virtual_study(
                strategy_name, seed=seed, profile=profile, workload=workload, samples=samples, epochs=epochs,
                final_epochs=final_epochs, settings=dict(pair(text) for text in settings), devices=devices,
                overrides={
                    "file": space, "lr_lower": lr_lower, "lr_upper": lr_upper, "bs_choices": bs_choices,
                    "wd_choices": wd_choices,
                },
                **{name: others[name] for name in NAMES if name in others},
                trial_devices=trial_devices, metrics=metrics,
            )  # fmt: skip
            return replace(simulated_study, space_name=_space_name(space))
        if simulated:
            raise UserError(f"{simulated[0]} is for virtual time alone: add --engine virtual, or leave it out.")
        workload, recipe = workload or WORKLOAD, recipe or RECIPE
        task, how = load_workload(workload), load_recipe(recipe)
        strategy = load_strategy(strategy_name)
        strategy.check(task)
        hardware = self._hardware(profile)
        per_trial = trial_devices or hardware.devices_per_trial
        _check_sharing(trials_per_device, strategy, per_trial)
        searched = overridden(
            task.search_space,
            file=space, lr_lower=lr_lower, lr_upper=lr_upper, bs_choices=bs_choices, wd_choices=wd_choices,
        )  # fmt: skip
        searched = self._trainable(searched, hardware, how, deepspeed)
        kept = [name for name in searched.names if not midway(name)]
        if strategy.copies and kept:
            self._say(f"Strategy {strategy.name} does not change {', '.join(kept)} of a trial that copies another: "
                      "what the donor has comes with its weights.")  # fmt: skip
        for path, option in ((model, "--model"), (dataset, "--dataset")):
            if path is not None and not path.exists():
                raise UserError(f"{option} {path} does not exist: check the path.")
        if deepspeed is not None:
            check_deepspeed(str(deepspeed))
        epochs = task.epochs if epochs is None else epochs
        final_epochs = max(task.final_epochs, epochs) if final_epochs is None else final_epochs
        if how.horizon == "workload" and max(epochs, final_epochs) > task.horizon_epochs:
            raise UserError(
                f"{max(epochs, final_epochs)} epochs are more than the {task.horizon_epochs} over which workload "
                f"{workload} decays the learning rate: give --epochs and --final-epochs up to {task.horizon_epochs}."
            )
        resolved = strategy.resolve(dict(pair(text) for text in settings))
        study = Study(
            workload=workload,
            recipe=recipe,
            strategy=strategy.name,
            settings=resolved,
            space=searched,
            profile=hardware.name,
            engine="serial" if strategy.serial else "ray",
            seed=seed,
            samples=samples,
            epochs=epochs,
            final_epochs=final_epochs,
            devices=self._devices(devices, hardware, per_trial),
            devices_per_trial=per_trial,
            strategy_file=strategy_name if strategy_name.endswith(".py") else None,
            model=str(model) if model else None,
            dataset=str(dataset) if dataset else None,
            dataset_name=dataset_name,
            deepspeed=str(deepspeed) if deepspeed else None,
            metrics=metrics,
            trials_per_device=trials_per_device,
            space_name=_space_name(space),
        )
        if strategy.serial:  # its plan is made of nothing but the study, and says how many trials there are
            plan = plan_study(study, strategy)
            study = replace(study, samples=len(plan.configs) if isinstance(plan, GridPlan) else samples)
        if engine is not None and engine != study.engine:
            raise UserError(
                f"Strategy {strategy.name} runs on the {study.engine} engine, not on {engine}: leave --engine out."
            )
        return study

    def _trainable(self, space: SearchSpace, hardware: Profile, recipe: Recipe, deepspeed: Path | None) -> SearchSpace:
        """The space without what this hardware cannot train, which is said once. Raises UserError."""
        kept, left_out = trainable(space, hardware, recipe, deepspeed=deepspeed is not None)
        if left_out is not None:
            self._say(f"{left_out} left out of the search.")
        return kept

    def _say(self, sentence: str) -> None:
        """Tells the user once, however many studies it concerns."""
        if sentence not in self._said:
            self._said.add(sentence)
            click.echo(sentence, err=True)

    def _hardware(self, profile: str | None) -> Profile:
        """The profile to run on."""
        return require_profile(profile, self._probe)

    def _devices(self, asked: int | None, profile: Profile, per_trial: int) -> int:
        """How many to hold: a multiple of those of a trial."""
        available = self._probe.available_devices(profile)
        if per_trial > available:
            raise UserError(
                f"A trial cannot have {per_trial} devices: profile {profile.name} finds {available} here; give "
                f"--trial-devices up to {available}."
            )
        if asked is not None and (asked > available or asked % per_trial):
            raise UserError(
                f"--devices {asked} cannot be had: profile {profile.name} finds {available} here, "
                f"{per_trial} for each trial; give a multiple of that up to {available}."
            )
        return available - available % per_trial if asked is None else asked

    def _virtual_study(
        self,
        strategy_name: str,
        *,
        profile: str | None,
        workload: str | None,
        epochs: int | None,
        final_epochs: int | None,
        seed: int,
        **options: Any,
    ) -> Study:
        """The winner is retrained where the curves are long enough for it."""
        curve_set = self._curves(options.pop("curves", None), profile, workload)
        task = load_workload(curve_set.workload)
        if final_epochs is None:
            longest = max(task.final_epochs, epochs or 0)
            final_epochs = longest if longest <= curve_set.epochs else 0
        study = virtual_study(
            load_strategy(strategy_name),
            curve_set,
            load_profile(profile or curve_set.profile),
            epochs=epochs,
            final_epochs=final_epochs,
            **options,
        )
        check_support(study, self._model(curve_set))
        return replace(study, seed=seed)

    def _curves(self, name: str | None, profile: str | None, workload: str | None) -> CurveSet:
        asked = (name, profile, workload)
        if asked not in self._curve_sets:
            self._curve_sets[asked] = load_curves(name, profile=profile, workload=workload)
        return self._curve_sets[asked]

    def _model(self, curve_set: CurveSet) -> CurveModel:
        from bench.curve_model import CurveModel

        if curve_set.name not in self._models:
            self._models[curve_set.name] = CurveModel(curve_set)
        return self._models[curve_set.name]

    def baseline(self, study: Study, *, of: Study) -> Record:
        """The manual baseline of a study, `of`: found, or announced and run. Raises UserError, before anything runs,
        where the study's own strategy has no plan for it."""
        found = self.find_baseline(study)
        if found is None:
            plan_study(of, load_strategy(of.strategy_file or of.strategy))
            if study.simulation is not None:
                return self.run(study)
            begun = (run_folder(self._results, study) / JOURNAL_NAME).exists()
            click.echo(
                "The manual baseline was begun and not finished: going on with it first."
                if begun
                else f"No manual baseline with these settings on profile {study.profile} yet: running it first, "
                f"{study.samples} trials one after the other.",
                err=True,
            )
        elif replace(known := Study.from_dict(found.study), space_name=study.space_name) == study:
            study = known  # the same run, whatever its space was called
        return self.run(study)

    def find_baseline(self, study: Study) -> Record | None:
        """The complete manual run that this study is measured against; None where there is none."""
        for path in sorted((self._results / "runs").glob("manual-*/record.json")):
            record = record_run(path.parent)
            other = Study.from_dict(record.study)
            same = search_key(other) == search_key(study) and other.space == study.space
            if same and other.seed == study.seed and record.status == "finished":
                return record
        return None

    def run(self, study: Study) -> Record:
        """Run a study with a live view; where it was interrupted, go on; where it is complete, read its record."""
        from bench.progress import progress_view
        from bench.provenance import collect

        folder = run_folder(self._results, study)
        if self._fresh and folder.exists() and folder not in self._refreshed:
            _set_aside(folder)
        self._refreshed.add(folder)
        journal = folder / JOURNAL_NAME
        if journal.exists() and journal.stat().st_size:
            record = record_run(folder)
            if record.status == "finished":
                click.echo(f"{folder.name} is complete: reported as it is (--fresh runs it again).", err=True)
                return record
        strategy = load_strategy(study.strategy_file or study.strategy)
        profile = load_profile(study.profile)
        if study.simulation is not None:
            return self._simulate(study, strategy, profile, folder)
        provenance = collect() | {"probe": self._probe.to_dict()}
        image = provenance["image"]
        if image is not None and image["digest"] is None:
            click.echo(f"The record will not say this image's digest: bind its file to {IMAGE_FILE}.", err=True)
        signals: list[int] = [signal.SIGINT]

        def interrupt(signum: int, frame: object) -> None:
            signals.append(signum)
            raise KeyboardInterrupt

        signal.signal(signal.SIGTERM, interrupt)
        try:
            with progress_view(study, profile.unit) as view:
                return run_study(
                    study, strategy, profile, results=self._results, provenance=provenance, observers=(view.show,)
                )
        except Interrupted as reason:
            said = f"{reason}. Everything up to the last epoch is kept: give the same command again to go on"
            if IMAGE_FILE.is_file():  # of an image's inside, whose paths are not the outside's
                click.echo(f"{said}.", err=True)
            else:
                click.echo(f"{said}, or\n  {program()} resume {folder.name} --results {self._results}", err=True)
            sys.exit(EXIT_STALLED if reason.stalled else 128 + signals[-1])

    def _simulate(self, study: Study, strategy: Strategy, profile: Profile, folder: Path) -> Record:
        from bench.progress import counter
        from bench.simulate import simulate_study

        assert study.simulation is not None
        curve_set = self._curves(study.simulation.curves, None, None)
        if curve_set.table_sha256 != study.simulation.curves_sha256:
            raise UserError(f"The curve set {curve_set.name} is not the one of this run: start a new run with --fresh.")
        ended = 0

        def watch(event: Event, state: RunState) -> None:
            nonlocal ended
            if isinstance(event, TrialEnded) and event.trial != FINAL_TRIAL:
                ended += 1
                told(ended, study.samples)

        try:
            with counter("trials") as told:
                return simulate_study(
                    study, strategy, profile, self._model(curve_set), results=self._results, observers=(watch,)
                )
        except Interrupted as reason:
            click.echo(f"{reason}. What was simulated up to then is in {folder}.", err=True)
            sys.exit(EXIT_STALLED)


def _space_name(space: str | None) -> str | None:
    """What the space asked for calls itself."""
    return None if space is None else load_space(space).name


def search_key(study: Study) -> tuple[Any, ...]:
    """What two searches must share; the final retrain is in the cost of neither."""
    return replace(study, final_epochs=0).comparison_key()


def _check_sharing(trials_per_device: int, strategy: Strategy, per_trial: int) -> None:
    """Raises UserError where trials cannot share a device."""
    if trials_per_device > 1 and strategy.serial:
        raise UserError(f"Strategy {strategy.name} trains one trial after the other: leave --trials-per-device out.")
    if trials_per_device > 1 and per_trial > 1:
        raise UserError(
            f"A trial of {per_trial} devices shares none: leave --trials-per-device out, or give --trial-devices 1."
        )
    if trials_per_device > MOST_ON_A_DEVICE:
        raise UserError(f"--trials-per-device {trials_per_device} is too many: give up to {MOST_ON_A_DEVICE}.")


def _set_aside(folder: Path) -> None:
    """Keep an earlier run of the same study under a name of its own."""
    number = 1
    while (kept := folder.with_name(f"{folder.name}.{number}")).exists():
        number += 1
    shutil.move(folder, kept)
