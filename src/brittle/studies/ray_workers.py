"""Jobs on a Ray cluster, or on a Ray of this machine: the extra `[ray]`. Results as from `workers`."""

from __future__ import annotations

import os
from typing import Any

from brittle.errors import UsageError
from brittle.studies.jobs import Failed, Job, Work, perform
from brittle.studies.keys import code_version
from brittle.studies.workers import Results, check_portable


class OnRay:
    """One Ray task of one CPU for each job; the study file stays with the engine.

    A trial whose node dies counts as failed and can be retried. The folder `Work.memory` is one of the nodes': shared
    by all nodes on a shared disk, each node's own elsewhere.

    Args:
        work: what is done.
        address: "local" for a Ray started here and ended with the study; else of a running cluster, as `ray.init` takes
            it ("auto", "HOST:PORT", "ray://HOST:PORT").
        count: jobs at a time; None for as many as the cluster has CPUs.

    Raises:
        UsageError: Ray is not installed, no cluster answers, or other processes cannot import the functions.
    """

    def __init__(self, work: Work, address: str, count: int | None) -> None:
        self._ray = _import_ray()
        check_portable(work)
        self._own = not self._ray.is_initialized()
        if self._own:
            _start(self._ray, address, count)
        self._count = count or max(1, int(self._ray.cluster_resources().get("CPU", 1)))
        self._jobs: dict[Any, Job] = {}
        self._work = self._ray.put(work)
        # A task that kills its worker would kill the next one too.
        self._task = self._ray.remote(num_cpus=1, max_retries=0)(_perform)

    @property
    def free(self) -> int:
        """How many more jobs it takes now."""
        return self._count - len(self._jobs)

    @property
    def out(self) -> int:
        """How many jobs are under way."""
        return len(self._jobs)

    def give(self, job: Job) -> None:
        """Start a job."""
        self._jobs[self._task.remote(job, self._work, code_version())] = job

    def collect(self, timeout: float | None) -> list[tuple[Job, Results]]:
        """Jobs that have ended, maybe none."""
        ended, _ = self._ray.wait(list(self._jobs), num_returns=1, timeout=timeout)
        return [self._result(reference) for reference in ended]

    def _result(self, reference: Any) -> tuple[Job, Results]:
        job = self._jobs.pop(reference)
        try:
            answer = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            return job, [Failed(key, f"on Ray: {error}") for key in job.keys if key in job.wanted]
        if isinstance(answer, str):
            raise UsageError(answer)
        return job, answer

    def close(self) -> None:
        """End all work."""
        for reference in self._jobs:
            self._ray.cancel(reference, force=True)
        self._jobs = {}
        if self._own:
            self._ray.shutdown()


def _perform(job: Job, work: Work, code: str) -> Results | str:
    """The task: results, or why this node's results would not be those of the others."""
    if code_version() != code:
        return f"a node of the Ray cluster has code version {code_version()}, this machine {code}: install one version"
    return perform(job, work)


def _import_ray() -> Any:
    try:
        import ray
    except ImportError:
        raise UsageError(
            'Ray is not installed: pip install "brittle[ray]", or use worker processes of this machine (--workers)'
        ) from None
    return ray


def _start(ray: Any, address: str, count: int | None) -> None:
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        if address == "local":
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a study tells nobody that it runs
            ray.init(address="local", num_cpus=count, include_dashboard=False, **quiet)
        else:
            ray.init(address=address, **quiet)
    except (ConnectionError, ValueError, RuntimeError, OSError) as error:
        said = str(error).strip().splitlines()
        raise UsageError(
            f"cannot reach a Ray cluster at {address!r} ({said[0] if said else type(error).__name__}): "
            "start one with `ray start --head`, or use --ray local"
        ) from error
