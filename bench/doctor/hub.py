"""Whether model and data are in the hub's cache, for nodes without internet."""

from __future__ import annotations

from bench.cluster.site import Site
from bench.doctor.line import Line, failed, passed, warned
from bench.hf.fetched import faults, home, load, repositories
from bench.workload import Workload


def line(workload: Workload, site: Site) -> Line:
    check = "hub cache"
    if not repositories(workload):
        return passed(check, f"{workload.name} makes its model and data itself")
    found = faults(workload)
    remedy = f"run `sweepmark fetch {workload.name}` on a node with internet, with HF_HOME on a shared file system"
    if not found:
        manifest = load(workload)
        assert manifest is not None
        return passed(check, f"{len(manifest.files)} files of {workload.name} in {home()}, as their checksums say")
    said = f"{found[0]}{f'; and {len(found) - 1} more' if len(found) > 1 else ''}"
    return failed(check, said, remedy) if site.offline else warned(check, said, remedy)
