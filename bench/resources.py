"""Where the project's own data lies: strategies, hardware profiles and results, in a checkout or in a wheel."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def resource_dir(name: str) -> Path:
    """The folder `strategies`, `hardware_profiles` or `results/...` that belongs to this installation."""
    checkout = PACKAGE.parent / name
    return checkout if checkout.is_dir() else PACKAGE / "resources" / name
