"""Whether a host's driver can serve an image's CUDA, before anything starts."""

from __future__ import annotations

from bench.container.sif import Image
from bench.errors import UserError
from bench.probe import Probe

OLDEST_DRIVER = {11: "450.80.02", 12: "525.60.13", 13: "580.65.06"}
"""By CUDA's major version: the oldest Linux driver that serves all of its minor versions. Source: CUDA Toolkit release
notes, table "CUDA Toolkit and Minimum Required Driver Version for CUDA Minor Version Compatibility"."""


def check_driver(image: Image, probe: Probe) -> None:
    """Raises UserError where the image needs GPUs and the host's driver is missing, or older than the image's CUDA.

    A driver serves its own CUDA and all older ones, and every minor version of its own major one.
    """
    cuda = image.labels.get("sweepmark.cuda", "none")
    if cuda == "none":
        return
    major = int(cuda.partition(".")[0])
    oldest = OLDEST_DRIVER.get(major, "a newer one")
    if not probe.gpus or probe.cuda_driver is None:
        raise UserError(
            f"{image.path} needs a GPU with driver {oldest} or newer; this machine has {probe.describe_gpus()}: run on "
            "such a node, or with --profile cpu."
        )
    if int(probe.cuda_driver.partition(".")[0]) < major:
        raise UserError(
            f"{image.path} holds CUDA {cuda}; driver {probe.driver} here serves CUDA {probe.cuda_driver} at most: ask "
            f"for a node with driver {oldest} or newer."
        )
