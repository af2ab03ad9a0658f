"""Running jobs on Dask: worker processes of this machine, or a scheduler that is already running somewhere."""

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

from distributed import Client, Future, KilledWorker, LocalCluster, as_completed
from distributed.comm.core import CommClosedError

from configs.cluster import Cluster
from configs.errors import BadRequest, Failure

Job = TypeVar("Job")
Result = TypeVar("Result")
JOBS_AHEAD = 2  # per thread: enough that none waits, few enough that the scheduler holds next to nothing
SECONDS_TO_CONNECT = 30


@contextmanager
def connect(config: Cluster) -> Iterator[Client]:
    """A client of the configured cluster, closed on leaving; workers started here end with it.

    Raises:
        BadRequest: no scheduler answers at `cluster.address`, or it has no worker.
    """
    # Its tracebacks would bury the one line that says what happened (`run_jobs`).
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)
    if config.address is None:
        with (
            LocalCluster(
                n_workers=config.workers,
                threads_per_worker=1,
                processes=True,
                memory_limit=config.memory_limit,
                dashboard_address=":0",
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
        Failure: a job's workers died time after time, the scheduler is gone, or a job could not read or write.
    """
    waiting = iter(jobs)
    running: dict[Future[Result], Job] = {}
    completed = as_completed()
    while True:
        try:
            window = JOBS_AHEAD * max(sum(client.nthreads().values()), 1)
            for job in islice(waiting, max(window - len(running), 0)):
                # Impure: the result of an equal earlier call must not be handed out; the file it made may be gone.
                future = client.submit(work, job, pure=False)
                running[future] = job
                completed.add(future)
            if not running:
                return
            finished = next(completed)
            job = running.pop(finished)
            result = finished.result()
        except KilledWorker as error:
            raise Failure(
                f"{_name(job)}: {error.allowed_failures + 1} workers died one after another while they made it, mostly "
                "for want of memory; raise cluster.memory_limit or start fewer workers; what is finished is kept"
            ) from None
        except (CancelledError, CommClosedError):
            raise Failure(
                "the Dask scheduler is gone; what is finished is kept: start it and run the same command again"
            ) from None
        except OSError as error:
            raise Failure(f"{_name(job)}: {error}; what is finished is kept") from None
        yield result


def _name(job: object) -> str:
    return str(getattr(job, "name", job))
