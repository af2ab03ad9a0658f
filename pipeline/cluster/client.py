"""Running jobs on Dask: worker processes of this machine, or a scheduler that is already running somewhere."""

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

import dask
from dask.utils import parse_bytes
from distributed import Client, Future, KilledWorker, LocalCluster, wait
from distributed.comm.core import CommClosedError

from configs.cluster import Cluster
from configs.errors import BadRequest, Failure

Job = TypeVar("Job")
Result = TypeVar("Result")
JOBS_AHEAD = 2  # per thread: enough that none waits, few enough that the scheduler holds next to nothing
SECONDS_TO_CONNECT = 30
SECONDS_WITHOUT_WORKERS = 20  # after which none is expected any more
LEAST_MEMORY = "100 MiB"
SCHEDULER_GONE = "the Dask scheduler is gone; what is finished is kept: start it and run the same command again"
WHY_WORKERS_DIE = (
    "mostly for want of memory: raise cluster.memory_limit, or start fewer workers; what is finished is kept"
)
# A worker keeps no results that it could spill, and one that is paused for what its libraries hold never wakes up.
ONLY_THE_LIMIT = {f"distributed.worker.memory.{act}": False for act in ("target", "spill", "pause")}
# A worker looks a hundred times a second at what it does, for a page of the dashboard; that costs it some percent.
NO_PROFILE = {"distributed.worker.profile.enabled": False}
# Dask has its workers give every freed megabyte back to the system: pictures then take longer to get than to fill.
KEEP_FREED_BYTES = {
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": 128 << 20,
    "distributed.nanny.pre-spawn-environ.MALLOC_MMAP_THRESHOLD_": 32 << 20,
}


@contextmanager
def connect(config: Cluster) -> Iterator[Client]:
    """A client of the configured cluster, closed on leaving; workers started here end with it.

    Raises:
        BadRequest: no scheduler answers at `cluster.address`, or it has no worker; `cluster.memory_limit` is too low
            for a worker to start.
    """
    # Its tracebacks would bury the one line that says what happened (`run_jobs`).
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)
    if config.address is None:
        if parse_bytes(config.memory_limit) < parse_bytes(LEAST_MEMORY):
            raise BadRequest(
                f"cluster.memory_limit = {config.memory_limit!r}: an idle worker takes nearly {LEAST_MEMORY}; give more"
            )
        with (
            dask.config.set(ONLY_THE_LIMIT | NO_PROFILE | KEEP_FREED_BYTES),
            LocalCluster(
                n_workers=config.workers,
                threads_per_worker=1,
                processes=True,
                memory_limit=config.memory_limit,
                dashboard_address="127.0.0.1:0",  # of this machine alone: it has no password
                host="127.0.0.1",
            ) as cluster,
            Client(cluster) as client,
        ):
            yield client
        return
    at = f"cluster.address = {config.address!r}"
    try:
        client = Client(config.address, timeout=SECONDS_TO_CONNECT)
    except (OSError, ValueError) as error:
        raise BadRequest(
            f"{at}: no Dask scheduler answers ({error}); start one with `dask scheduler`, or set it to null for "
            "local workers"
        ) from None
    with client:
        try:
            client.wait_for_workers(1, timeout=SECONDS_TO_CONNECT)
        except TimeoutError:
            raise BadRequest(f"{at}: it has no worker; start some with `dask worker {config.address}`") from None
        yield client


def run_jobs(client: Client, work: Callable[[Job], Result], jobs: Sequence[Job]) -> Iterator[Result]:
    """Call `work` on every job on the cluster and yield the results as they come, in no particular order.

    Jobs and results must be small: no pixels travel through the scheduler. A worker that dies is replaced and its job
    done again; workers may join at any time. An exception of a job is raised here.

    Raises:
        Failure: a job's workers died time after time, none is left, the scheduler is gone, or a job could not read or
            write.
    """
    waiting = iter(jobs)
    running: dict[Future[Result], Job] = {}
    while True:
        try:
            window = JOBS_AHEAD * max(sum(client.nthreads().values()), 1)
            for job in islice(waiting, max(window - len(running), 0)):
                # Impure: the result of an equal earlier call must not be handed out; the file it made may be gone.
                running[client.submit(work, job, pure=False)] = job
            if not running:
                return
            finished = _wait(client, list(running))
        except (CancelledError, CommClosedError):
            raise Failure(SCHEDULER_GONE) from None
        for future in finished:
            yield _result(future, running.pop(future))


def _wait(client: Client, futures: list["Future[Result]"]) -> list["Future[Result]"]:
    """Those of the futures that are finished, at least one."""
    while True:
        try:
            return list(wait(futures, timeout=SECONDS_WITHOUT_WORKERS, return_when="FIRST_COMPLETED").done)
        except TimeoutError:
            if not client.nthreads():
                raise Failure(f"no worker is left; {WHY_WORKERS_DIE}") from None


def _result(future: "Future[Result]", job: Job) -> Result:
    name = str(getattr(job, "name", job))
    try:
        return future.result()
    except KilledWorker as error:
        times = error.allowed_failures + 1
        raise Failure(f"{name}: {times} workers died one after another while they made it; {WHY_WORKERS_DIE}") from None
    except (CancelledError, CommClosedError):
        raise Failure(SCHEDULER_GONE) from None
    except OSError as error:
        raise Failure(f"{name}: {error}; what is finished is kept") from None
