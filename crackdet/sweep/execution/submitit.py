"""What the two launchers of hydra-submitit-launcher have in common."""

import contextlib
import io
from collections.abc import Mapping
from typing import Any

from crackdet.core.errors import UserError
from crackdet.sweep.execution.remote import WorkerSpec, remote_main


def check_params(params: Mapping[str, Any]) -> None:
    """Raise UserError if the launcher would start several processes for one worker."""
    for name in ("nodes", "tasks_per_node"):
        if params.get(name, 1) != 1:
            raise UserError(f"hydra.launcher.{name}={params[name]}: must be 1, a worker is one process")


def submit(cluster: str, params: Mapping[str, Any], spec: WorkerSpec) -> Any:
    """Submit a worker by submitit; return submitit's job.

    Args:
        cluster: `local` or `slurm`.
        params: The settings of the launcher.

    Raises:
        UserError: If a worker cannot be submitted.
    """
    from submitit import AutoExecutor
    from submitit.core.utils import UncompletedJobError

    params = dict(params)
    folder, max_num_timeout = params.pop("submitit_folder"), params.pop("max_num_timeout", None)
    options = {} if max_num_timeout is None else {f"{cluster}_max_num_timeout": max_num_timeout}
    try:
        executor = AutoExecutor(folder=folder, cluster=cluster, **options)
        generic = executor._valid_parameters()
        executor.update_parameters(
            **{name if name in generic else f"{cluster}_{name}": value for name, value in params.items()}
        )
        with contextlib.redirect_stderr(io.StringIO()):  # the error has sbatch's message too
            return executor.submit(remote_main, spec)
    except (UncompletedJobError, RuntimeError, NameError, ValueError, AssertionError, OSError) as error:
        text = " ".join(str(error).split())
        raise UserError(f"hydra/launcher=submitit_{cluster}: no job can be submitted: {text}") from None
