"""What a search under Ray is spared."""

from __future__ import annotations

import subprocess
import sys

SEARCH = """
import importlib, sys
from ray import tune
from bench.engines.ray_adjust import uncounted_callbacks
usage = importlib.import_module("ray.tune.tune").air_usage  # as Tune itself finds it
with uncounted_callbacks():
    usage.tag_callbacks([tune.Callback()])
    assert "ray.air.integrations.mlflow" not in sys.modules
usage._count_callbacks([tune.Callback()])
assert "ray.air.integrations.mlflow" in sys.modules, "Ray does without by itself: so can the adjustment"
assert usage.tag_callbacks.__module__ == "ray.air._internal.usage", "put back"
"""


def test_no_tracker_is_imported_to_count_callbacks() -> None:
    done = subprocess.run([sys.executable, "-c", SEARCH], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
