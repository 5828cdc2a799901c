"""The processes that train one trial together: what they tell each other, and how the trial ends for all.

Over the store where they met (see `bench.hf.meeting`) they form torch's process group, and hear what rank 0 decides and
why the trial ended. A rank that fails says so before it leaves, and rank 0 then calls the roll: all answer if the trial
failed, and one that died does not.

Importing this module loads no torch.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import queue
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from bench.errors import UserError
from bench.events import Phases
from bench.hf.meeting import TOLD, Meeting, Place, interface
from bench.training import TrainingTask, TrialFailed

if TYPE_CHECKING:
    import torch

JOIN_S = 300.0
"""How long the ranks wait for the last to come: it may still be importing from a slow disk."""
COLLECTIVE_S = 300.0
"""How long a rank waits for the others in the middle of training."""
ANSWER_S = 30.0
"""How long a living rank may take to answer when the roll is called, or to part."""
_FOREVER = timedelta(days=365)

_INTERFACES = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")


class RankLost(Exception):
    """A process of the trial died or does not answer: the trial can only be started again from its last checkpoint."""


class Dismissed(Exception):
    """Rank 0 has ended the trial; why is its own to report."""


class Alone:
    """A trial of one process: nobody to agree with."""

    rank = 0
    size = 1

    @property
    def leads(self) -> bool:
        """Whether this is the process that reports and writes."""
        return self.rank == 0

    def total(self, values: torch.Tensor) -> torch.Tensor:
        """The sum over all ranks, on each."""
        return values

    def gather(self, values: torch.Tensor) -> list[torch.Tensor]:
        """Every rank's tensor of one and the same shape, by rank, on each."""
        return [values]

    def check(self) -> None:
        """Raises Dismissed where another rank has failed."""

    def decide(self, go_on: bool) -> None:
        """Rank 0 says after an epoch whether the trial goes on."""

    def obey(self) -> None:
        """The others wait for that. Raises Dismissed where it does not."""

    def settle(self, error: Exception, phases: Phases) -> Exception:
        """What ended the trial, given the exception that this rank saw; `phases`: the time since its last epoch."""
        return error


class Group(Alone):
    """The ranks of a trial, from `join` until `leave`; both wait for the others."""

    def __init__(self, place: Place, task: TrainingTask) -> None:
        self.rank, self.size = place.rank, place.size
        self._place, self._task = place, task
        self._store: Any = None
        self._ear: Any = None
        self._lost = False
        self._own_variables: list[str] = []
        self._words: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._failed = threading.Event()
        self._first: dict[str, Any] = {}
        self._listener = threading.Thread(target=self._listen, name=f"rank {self.rank} listens", daemon=True)

    def join(self) -> None:
        """Form the group. Raises RankLost where not all ranks come."""
        import torch
        import torch.distributed as dist

        place = self._place
        self._store, self._ear = self._connect(), self._connect()
        self._listener.start()
        self._enter_environment()
        self._set(f"here/{self.rank}")
        absent = self._await("here", JOIN_S, unless_failed=True)
        if absent:
            self._lost = True
            raise RankLost(f"rank {absent[0]} of {self.size} did not come within {JOIN_S:.0f} s")
        cuda = self._task.device == "cuda"
        if cuda:
            torch.cuda.set_device(place.local_rank)
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if cuda else "gloo",
            store=dist.PrefixStore("torch", self._store),
            rank=place.rank,
            world_size=place.size,
            timeout=timedelta(seconds=COLLECTIVE_S),
        )

    def leave(self) -> None:
        """Part: nothing of the group is left in this process. What trained in it must have been let go of before."""
        if self._failed.is_set():
            self._destroy()  # first: a rank that waits for this one in a collective notices by that
        if self._store is not None:
            with contextlib.suppress(RuntimeError):  # there may be nobody left to part from
                self._part()
        self._destroy()
        for name in (*TOLD, *self._own_variables):
            os.environ.pop(name, None)
        _forget_accelerate()
        self._store = self._ear = None

    def _part(self) -> None:
        if self.leads:
            self._set(f"bye/{self.rank}")
            self._tell("end")
            self._await("bye", 0 if self._lost else ANSWER_S)
            self._listener.join(ANSWER_S)
        else:
            self._listener.join()  # until rank 0 ends it, or is gone
            self._set(f"bye/{self.rank}")

    def total(self, values: torch.Tensor) -> torch.Tensor:
        import torch.distributed as dist

        values = values.clone()
        dist.all_reduce(values)
        return values

    def gather(self, values: torch.Tensor) -> list[torch.Tensor]:
        import torch
        import torch.distributed as dist

        every = [torch.empty_like(values) for _ in range(self.size)]
        dist.all_gather(every, values)
        return every

    def check(self) -> None:
        if self._failed.is_set():
            raise Dismissed

    def decide(self, go_on: bool) -> None:
        self._tell("go on" if go_on else "stop")

    def obey(self) -> None:
        if self._words.get()["kind"] != "go on":
            raise Dismissed

    def settle(self, error: Exception, phases: Phases) -> Exception:
        if isinstance(error, Dismissed) and not self.leads:
            return error
        try:
            self._tell("failed", **_described(error))
            silent = self._await("heard", ANSWER_S) if self.leads else []
        except RuntimeError:  # the store is gone, and with it the rank that served it
            return RankLost("rank 0 is gone")
        if silent:
            self._lost = True
            return RankLost(f"rank {silent[0]} of {self.size} died ({error})")
        self._failed.wait()
        first = self._first
        if first["rank"] == self.rank:
            return error
        if first["state"] is None:
            return UserError(first["detail"])
        return TrialFailed(state=first["state"], detail=f"rank {first['rank']}: {first['detail']}", phases=phases)

    def _connect(self) -> Any:
        from torch.distributed import TCPStore

        return TCPStore(self._place.host, self._place.port, is_master=False, timeout=timedelta(seconds=JOIN_S))

    def _enter_environment(self) -> None:
        """What accelerate, the Trainer and DeepSpeed read."""
        place = self._place
        values = (place.rank, place.size, place.local_rank, place.size, place.host, place.port)
        os.environ.update({name: str(value) for name, value in zip(TOLD, values, strict=True)})
        name = interface(place.host, place.port)
        chosen = dict.fromkeys(_INTERFACES, name) if name else {}
        chosen["OMP_NUM_THREADS"] = str(self._task.threads)  # without it accelerate takes all the machine's cores
        self._own_variables = [name for name in chosen if name not in os.environ]
        for name in self._own_variables:
            os.environ[name] = chosen[name]

    def _set(self, key: str) -> None:
        self._store.set(f"sweepmark/{key}", "")

    def _await(self, what: str, seconds: float, *, unless_failed: bool = False) -> list[int]:
        """Wait until every rank has set its key; returns the ranks that have not in time."""
        deadline_s = time.monotonic() + seconds
        absent = list(range(self.size))
        while True:
            absent = [rank for rank in absent if not self._store.check([f"sweepmark/{what}/{rank}"])]
            if not absent or time.monotonic() > deadline_s:
                return absent
            if unless_failed:
                self.check()
            time.sleep(0.005)  # a poll with a deadline

    def _tell(self, kind: str, **more: Any) -> None:
        """Append a word to what all ranks hear, in one order."""
        number = self._store.add("sweepmark/words", 1)
        self._store.set(f"sweepmark/word/{number}", json.dumps({"kind": kind, "rank": self.rank, **more}))

    def _listen(self) -> None:
        """In a thread and over a connection of its own, so that a rank answers whatever else it waits for."""
        ear = self._ear
        try:
            for number in itertools.count(1):
                key = f"sweepmark/word/{number}"
                ear.wait([key], _FOREVER)
                word = json.loads(ear.get(key))
                if word["kind"] == "failed":
                    ear.set(f"sweepmark/heard/{self.rank}", "")
                    self._fail(word)
                elif word["kind"] != "end":
                    self._words.put(word)
                else:
                    return
        except RuntimeError:
            self._fail({"kind": "failed", "rank": 0, "state": "failed", "detail": "its process is gone"})
        finally:
            self._words.put({"kind": "end"})

    def _fail(self, word: dict[str, Any]) -> None:
        if self._failed.is_set():
            return
        self._first = word
        self._failed.set()
        self._words.put(word)
        if self._task.device == "cuda":
            _abort()

    def _destroy(self) -> None:
        if self._task.deepspeed is not None:
            from deepspeed import comm as dist
        else:
            import torch.distributed as dist
        with contextlib.suppress(Exception):  # it may never have come to one, or have been aborted
            dist.destroy_process_group()


def _described(error: Exception) -> dict[str, Any]:
    """`state` is None for a mistake of the user's."""
    if isinstance(error, TrialFailed):
        return {"state": error.state, "detail": error.detail}
    if isinstance(error, UserError):
        return {"state": None, "detail": str(error)}
    return {"state": "failed", "detail": f"{type(error).__name__}: {error}"}


def _abort() -> None:
    """Have NCCL's pending operations return; gloo's notice by themselves that a rank has left."""
    import torch
    from torch.distributed.distributed_c10d import _get_default_group

    with contextlib.suppress(Exception):
        _get_default_group()._get_backend(torch.device("cuda")).abort()


def _forget_accelerate() -> None:
    """Without this the next Trainer of this process would believe itself in the old group."""
    from accelerate.state import AcceleratorState, GradientState

    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


@contextlib.contextmanager
def joined(task: TrainingTask, place: Place | None) -> Iterator[Alone]:
    """The group of a trial for as long as it trains. DeepSpeed wants one even around a single process."""
    if place is None and task.processes > 1:
        raise ValueError(f"a trial of {task.processes} processes needs each one's place")
    if place is None and task.deepspeed is None:
        yield Alone()
        return
    meeting = Meeting(1) if place is None else None
    group = Group(place or meeting.place(0), task)  # type: ignore[union-attr]
    try:
        group.join()
        yield group
    finally:
        group.leave()
        if meeting is not None:
            meeting.close()
