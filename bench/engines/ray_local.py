"""Ray on this machine alone, for one search."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shutil
import signal
import tempfile
import warnings
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from bench.engines.session import TRIAL_RETRIES, Session

ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_WARN_THRESHOLD_S": "60",
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",  # a run is restored from its journal, not from Tune's own state
    "TUNE_RESULT_BUFFER_LENGTH": "1",
    "RAY_worker_niceness": "0",  # else 15: trials would yield to whatever else runs, which those of the grid do not
}

OBJECT_STORE_BYTES = 100 * 2**20
MAX_TEMPORARY_PATH = 25


class LocalCluster:
    """The devices of this machine; see `RayCluster`."""

    retries = TRIAL_RETRIES
    single_node = True

    @contextlib.contextmanager
    def connected(self, session: Session) -> Iterator[Path]:
        study, task = session.study, session.task
        grant = session.open_grant(study.devices, "search")
        with (
            ray_node(
                cpus=study.devices * study.trials_per_device * task.threads,
                gpus=study.devices if task.device == "cuda" else 0,
            ),
            tempfile.TemporaryDirectory() as storage,
        ):
            yield Path(storage)
        session.close_grant(grant)

    def waiting(self) -> bool:
        return False


@contextlib.contextmanager
def ray_node(*, cpus: int, gpus: int, address: str | None = None, token: Path | None = None) -> Iterator[Path]:
    """A Ray of this process's own, which others may join: gives the folder of its temporary files. `address`: of this
    node, for others. `token`: a file that holds what others must show (None: made for this process alone)."""
    os.environ.update(ENVIRONMENT)
    import ray

    logging.getLogger("ray").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module="ray")
    on_sigterm = signal.getsignal(signal.SIGTERM)
    # A folder of its own, since /tmp/ray belongs to whoever used Ray first on a shared machine.
    folder = tempfile.mkdtemp(prefix="ray-", dir=short_temporary())
    _authenticate(token or new_token(Path(folder, "token")))
    try:
        ray.init(
            address="local",
            num_cpus=cpus,
            num_gpus=gpus,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.CRITICAL,
            object_store_memory=OBJECT_STORE_BYTES,
            _node_ip_address=address,
            _temp_dir=folder,
        )
        signal.signal(signal.SIGTERM, on_sigterm)  # Ray puts one of its own in place, which prints a stack and exits
        yield Path(folder)
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


def short_temporary() -> str:
    """The folder of temporary files, or /tmp where that is too long: the paths of sockets have 107 bytes at most."""
    temporary = tempfile.gettempdir()
    return temporary if len(temporary) <= MAX_TEMPORARY_PATH else "/tmp"


def authentication(token: Path) -> dict[str, str]:
    """The environment in which Ray shows the token, and asks for it: Ray listens on every interface."""
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}


def new_token(path: Path) -> Path:
    """A file of a new secret, for its owner alone, in place of an older one."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(secrets.token_hex(32))
    return path


def _authenticate(token: Path) -> None:
    """Have Ray in this process, which may have read its settings already, use the token."""
    raylet: Any = import_module("ray._raylet")
    os.environ.update(authentication(token))
    raylet.Config.initialize("")
    raylet.AuthenticationTokenLoader.instance().reset_cache()
