"""Ray on one machine: only who can read its token may use it."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

JOIN = """
import os, sys
os.environ["RAY_ENABLE_AUTO_CONNECT"] = "0"
import ray
ray.init(address=sys.argv[1], log_to_driver=False, logging_level="CRITICAL")
print("in")
"""

HOST = """
import os, stat, subprocess, sys
from pathlib import Path
from bench.engines.ray_local import ray_node

with ray_node(cpus=1, gpus=0) as folder:
    import ray
    token = Path(os.environ["RAY_AUTH_TOKEN_PATH"])
    print("mode", oct(stat.S_IMODE(token.stat().st_mode)), token.is_relative_to(folder))
    nice = ray.remote(lambda: os.nice(0))
    print("priority", "its own" if ray.get(nice.remote()) == os.nice(0) else "another")
    address = ray.get_runtime_context().gcs_address
    clean = {k: v for k, v in os.environ.items() if not k.startswith("RAY_AUTH")}
    other = folder / "other"
    other.write_text("0" * 64)
    for name, more in (
        ("without", {"RAY_AUTH_MODE": "disabled"}),
        ("another", {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(other)}),
    ):
        done = subprocess.run([sys.executable, "-c", sys.argv[1], address], env={**clean, **more}, capture_output=True,
                              text=True, timeout=120)
        print(name, "refused" if "Authenti" in done.stderr else done.stdout + done.stderr[-300:])
print("gone", not folder.exists())
"""


def test_who_does_not_show_the_token_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(HOST), JOIN],
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    said = done.stdout.splitlines()
    right = ["mode 0o600 True", "priority its own", "without refused", "another refused", "gone True"]
    assert said == right, done.stderr[-2000:]
