"""A process's memory over time, looked at by a thread of its own and written as it goes: what a killed one used is
known too. Importing this module loads no torch.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.hf.meeting import Place
from bench.training import TrainingTask

INTERVAL_S = 0.02
FIELDS = ("at_s", "host", "allocated", "reserved", "used", "energy_mj")
"""A sample: Unix time; bytes in main memory, in tensors on the device, held of it by PyTorch, and in use on it by
whomever; millijoules that the device has counted. What cannot be known is NaN."""

_UNKNOWN = float("nan")


def samples_path(folder: Path, rank: int) -> Path:
    """Where a rank's samples are: 64-bit floats of this machine's order, `FIELDS` after `FIELDS`."""
    return folder / f"rank-{rank:04d}.f64"


@contextlib.contextmanager
def sampled(task: TrainingTask, place: Place | None) -> Iterator[None]:
    """This process's memory is written to the task's folder for samples meanwhile, where it has one."""
    if task.samples is None:
        yield
        return
    task.samples.mkdir(parents=True, exist_ok=True)
    device = Device(0 if place is None else place.local_rank) if task.device == "cuda" else None
    sampler = Sampler(samples_path(task.samples, 0 if place is None else place.rank), device)
    sampler.start()
    try:
        yield
    finally:
        sampler.stop()


class Device:
    """A GPU as PyTorch and NVML tell of it; numbers that cannot be had are NaN."""

    def __init__(self, index: int) -> None:
        self._index = index
        self._handle: Any = None
        with contextlib.suppress(Exception):  # no NVML, or one that does not know the device
            import pynvml
            import torch

            pynvml.nvmlInit()
            uuid = str(torch.cuda.get_device_properties(index).uuid)
            self._handle = pynvml.nvmlDeviceGetHandleByUUID(
                uuid if uuid.startswith(("GPU-", "MIG-")) else f"GPU-{uuid}"
            )

    def look(self) -> tuple[float, float, float, float]:
        """Allocated, reserved, used and the energy counter."""
        import torch

        held = (torch.cuda.memory_allocated(self._index), torch.cuda.memory_reserved(self._index))
        return float(held[0]), float(held[1]), self._used(), self._energy_mj()

    def _used(self) -> float:
        with contextlib.suppress(Exception):
            import pynvml

            return float(pynvml.nvmlDeviceGetMemoryInfo(self._handle).used)
        return _UNKNOWN

    def _energy_mj(self) -> float:
        with contextlib.suppress(Exception):  # hardware before Volta has no counter
            import pynvml

            return float(pynvml.nvmlDeviceGetTotalEnergyConsumption(self._handle))
        return _UNKNOWN


class Sampler:
    """Writes a sample to `path` every `INTERVAL_S`, from `start` until `stop`. Without a `device`, of main memory."""

    def __init__(self, path: Path, device: Device | None) -> None:
        self._path, self._device = path, device
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="samples memory", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """The last sample is written."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        page = os.sysconf("SC_PAGE_SIZE")
        # Unbuffered: a process that is killed has written all that it saw.
        with self._path.open("wb", buffering=0) as file, Path("/proc/self/statm").open("rb", buffering=0) as statm:
            over = False
            while not over:
                over = self._over.wait(INTERVAL_S)
                statm.seek(0)
                host = float(statm.read().split()[1]) * page
                seen = self._device.look() if self._device is not None else (_UNKNOWN,) * 4
                file.write(array("d", (time.time(), host, *seen)).tobytes())
