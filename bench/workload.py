"""What is tuned: a workload (model, data, epochs, search space) under a recipe (how it is trained)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from bench.errors import unknown
from bench.resources import PACKAGE
from bench.space import SearchSpace
from bench.tomlfile import load_toml

WORKLOADS = PACKAGE / "workloads"
RECIPES = PACKAGE / "recipes"


@dataclass(frozen=True, kw_only=True)
class ModelSource:
    """Where the model comes from: `hub` and `revision`, or an architecture built here from `bloom` (the arguments of
    `transformers.BloomConfig`) with a byte-level BPE tokenizer of `vocab_size` words trained on the training split.
    `bloom` may have more words (its own `vocab_size`) than the tokenizer. `architecture`: what `bloom` would be for the
    hub's model, so that its cost can be measured from random weights."""

    hub: str | None = None
    revision: str | None = None
    bloom: dict[str, Any] | None = None
    vocab_size: int | None = None
    architecture: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if (self.hub is None) == (self.bloom is None):
            raise ValueError("give either 'hub' or 'bloom'")
        if self.hub is not None and self.revision is None:
            raise ValueError(f"'revision' of {self.hub} must be pinned to a commit")


@dataclass(frozen=True, kw_only=True)
class DataSource:
    """Where the data come from: `hub` and `revision`, or `generated_articles` made here from `seed`, with passages of
    so many facts (from, to: see `bench.generate`). `train`, `validation`, `test`: examples a split; the splits share no
    article."""

    hub: str | None = None
    revision: str | None = None
    generated_articles: int | None = None
    facts_per_passage: tuple[int, int] = (4, 4)
    seed: int = 0
    train: int
    validation: int
    test: int

    def __post_init__(self) -> None:
        if (self.hub is None) == (self.generated_articles is None):
            raise ValueError("give either 'hub' or 'generated_articles'")


@dataclass(frozen=True, kw_only=True)
class KnownLoss:
    """The lowest loss that is known of a model after up to `epochs` epochs: `eval_loss` in nats, and where it was
    found."""

    epochs: int
    eval_loss: float
    source: str

    __pydantic_config__: ClassVar = {"extra": "forbid"}


@dataclass(frozen=True, kw_only=True)
class Known:
    """What is known beforehand of runs of a workload on its own model and data under one recipe, for checks of runs
    from elsewhere. `parameters`: of the model. `train_tokens`: of an epoch, without padding. `best`: by ascending
    epochs. None, or no entry: nobody has measured it."""

    recipe: str
    parameters: int | None = None
    train_tokens: int | None = None
    data_sha256: str | None = None
    best: tuple[KnownLoss, ...] = ()

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    def __post_init__(self) -> None:
        if [k.epochs for k in self.best] != sorted({k.epochs for k in self.best}):
            raise ValueError("'best' must be in ascending order of epochs, each once")

    def best_within(self, epochs: int) -> KnownLoss | None:
        """The entry for a model of so many epochs; None where none is known of so long a training."""
        return next((k for k in self.best if k.epochs >= epochs), None)


@dataclass(frozen=True, kw_only=True)
class Workload:
    """A task to be tuned. `epochs`: of a trial. `final_epochs`: of the winner's retrain. `horizon_epochs`: over which
    the learning rate decays, the same in search and retrain. `max_tokens`: longest sequence. `eval_batch_size`: part of
    the protocol, since eval_loss averages batch means. `space`: see `SearchSpace.from_dict`. `checkpoints`: whether
    trials are saved after each epoch; without, they can be neither resumed nor copied. `known`: one a recipe."""

    name: str
    summary: str
    epochs: int
    final_epochs: int
    horizon_epochs: int
    max_tokens: int
    max_new_tokens: int
    eval_batch_size: int
    warmup_fraction: float
    max_grad_norm: float
    model: ModelSource
    data: DataSource
    space: dict[str, dict[str, Any]]
    checkpoints: bool = True
    known: tuple[Known, ...] = ()

    def __post_init__(self) -> None:
        SearchSpace.from_dict(self.space)
        if not 1 <= self.epochs <= self.final_epochs <= self.horizon_epochs:
            raise ValueError("epochs, final_epochs and horizon_epochs must be 1 or more, in ascending order")
        if len({k.recipe for k in self.known}) != len(self.known):
            raise ValueError("'known' holds a recipe twice")

    @property
    def search_space(self) -> SearchSpace:
        return SearchSpace.from_dict(self.space)

    def known_under(self, recipe: str) -> Known | None:
        """What is known of its runs under a recipe; None where nothing is."""
        return next((k for k in self.known if k.recipe == recipe), None)


@dataclass(frozen=True, kw_only=True)
class Computation:
    """How the same training is computed: nothing here changes what is trained, and losses by rounding alone.

    `head`: logits and loss at "all" positions, or at the "labelled" ones. `last_block`: likewise all that comes after
    the last attention (of BLOOM; so are the next three). `tokens`: layers work on "padded" rows, or on "real" tokens,
    with rows for attention alone. `attention`, `activation`: the "model"'s own code, or PyTorch's "fused" kernels.
    `batches`: through a "loader" in every epoch, or laid out once on the "device".
    `checkpoints`: the trial "waits" while they are written, or evaluates meanwhile, with them written "aside".
    """

    head: Literal["all", "labelled"] = "all"
    last_block: Literal["all", "labelled"] = "all"
    tokens: Literal["padded", "real"] = "padded"
    attention: Literal["model", "fused"] = "model"
    activation: Literal["model", "fused"] = "model"
    batches: Literal["loader", "device"] = "loader"
    checkpoints: Literal["waits", "aside"] = "waits"

    def __post_init__(self) -> None:
        if (self.last_block == "labelled" or self.tokens == "real") and self.attention != "fused":
            raise ValueError("last_block = 'labelled' and tokens = 'real' need attention = 'fused'")
        if self.last_block == "labelled" and self.head != "labelled":
            raise ValueError("last_block = 'labelled' needs head = 'labelled'")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a workload is trained.

    `labels`: "answer" labels the answer's tokens after the prompt that holds the passage; "question" lays the
    answer's tokens over the question's positions, as the workshop did. `padding`: to the longest of a batch or always
    to `max_tokens`. `horizon`: the schedule ends after the workload's horizon, or after the epochs asked for.
    `applies_weight_decay`, `applies_clipping`: whether the hyperparameter reaches the optimiser; where not, trials
    still carry it, and every report says that it had no effect. `computation`: how all that is computed.
    `same_losses_as`: the recipe that differs in the computation alone, if there is one: what is known of its losses
    holds here too.
    """

    name: str
    summary: str
    labels: Literal["answer", "question"]
    padding: Literal["longest", "max_length"]
    horizon: Literal["workload", "epochs"]
    applies_weight_decay: bool
    applies_clipping: bool
    computation: Computation = Computation()
    same_losses_as: str | None = None

    @property
    def known_as(self) -> str:
        """The recipe under which its losses are known; see `Workload.known_under`."""
        return self.same_losses_as or self.name


def workload_names() -> list[str]:
    return sorted(path.stem for path in WORKLOADS.glob("*.toml"))


def recipe_names() -> list[str]:
    return sorted(path.stem for path in RECIPES.glob("*.toml"))


def load_workload(name: str) -> Workload:
    """The workload of that name. Raises UserError with the nearest names."""
    if name not in workload_names():
        raise unknown("workload", name, workload_names())
    return load_toml(WORKLOADS / f"{name}.toml", Workload)


def load_recipe(name: str) -> Recipe:
    """The recipe of that name. Raises UserError with the nearest names."""
    if name not in recipe_names():
        raise unknown("recipe", name, recipe_names())
    return load_toml(RECIPES / f"{name}.toml", Recipe)
