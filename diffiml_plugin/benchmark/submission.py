"""Jobs of a benchmark on a Slurm cluster, or in processes of their own, by submitit."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import UserError
from .jobs import run_model
from .spec import Benchmark, ModelEntry

# What a job gets unless it is said otherwise: submitit ends it after this time.
_DEFAULTS = dict(timeout_min=24 * 60, cpus_per_task=4)


class SubmittedRun:
    """Runs one model with one seed as a job of submitit, and waits for it.

    The job does what :func:`run_model` does; its state is in the same files, so a job that was
    preempted or cancelled resumes when the benchmark is run again.

    Args:
        cluster (str): 'slurm', or 'local' for processes on this machine.
        out (Path): Folder of the benchmark; submitit's files are in its folder ``jobs``.
        settings (Sequence[str]): NAME=VALUE, as in submitit's ``update_parameters``: timeout_min,
            cpus_per_task, gpus_per_node, mem_gb, and with 'slurm' also slurm_partition,
            slurm_account and so on.

    Raises:
        UserError: If a setting is not understood, or the machine has no Slurm.
    """

    def __init__(self, cluster: str, out: Path, settings: Sequence[str] = ()) -> None:
        import submitit

        try:
            self._executor = submitit.AutoExecutor(folder=out / 'jobs', cluster=cluster)
            self._executor.update_parameters(**_DEFAULTS | dict(map(_read, settings)))
        except UserError:
            raise
        # submitit raises several kinds for settings and for a missing program.
        except Exception as error:
            raise UserError(f'--cluster {cluster}: {error}') from None

    def __call__(
        self, bench: Benchmark, entry: ModelEntry, seed: int, out: Path, device: str
    ) -> list[str]:
        """Run a model; see :func:`run_model`.

        Raises:
            UserError: If the job fails, with the last line of its error.
        """
        import submitit

        job = self._executor.submit(run_model, bench, entry, seed, out.absolute(), device)
        try:
            return job.result()
        except submitit.core.utils.FailedJobError as error:
            lines = (job.stderr() or str(error)).strip().splitlines()
            said = lines[-1].rsplit('UserError: ', 1)[-1]
            raise UserError(f'{said} (job {job.job_id}, see {job.paths.stderr})') from None


def _read(setting: str) -> tuple[str, Any]:
    name, equals, value = setting.partition('=')
    if not equals or not name.isidentifier():
        raise UserError(f'--cluster-settings must be NAME=VALUE, got {setting!r}')
    return name, int(value) if value.isdecimal() else value
