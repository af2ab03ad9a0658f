"""Running jobs on Dask: worker processes of this machine, or a scheduler that is already running somewhere."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

from distributed import Client, Future, LocalCluster, as_completed

from configs.cluster import Cluster
from configs.errors import BadRequest

Job = TypeVar("Job")
Result = TypeVar("Result")
JOBS_AHEAD = 2  # per thread: enough that none waits, few enough that the scheduler holds next to nothing
SECONDS_TO_CONNECT = 30


@contextmanager
def connect(config: Cluster) -> Iterator[Client]:
    """A client of the configured cluster, closed on leaving; workers started here end with it.

    Raises:
        BadRequest: no scheduler answers at `cluster.address`.
    """
    if config.address is not None:
        try:
            client = Client(config.address, timeout=SECONDS_TO_CONNECT)
        except (OSError, ValueError) as error:
            raise BadRequest(
                f"cluster.address = {config.address!r}: no Dask scheduler answers ({error}); "
                "start one with `dask scheduler`, or set it to null for local workers"
            ) from None
        with client:
            yield client
        return
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


def run_jobs(client: Client, work: Callable[[Job], Result], jobs: Sequence[Job]) -> Iterator[Result]:
    """Call `work` on every job on the cluster and yield the results as they come, in no particular order.

    Jobs and results must be small: no pixels travel through the scheduler. An exception of a job is raised here.
    """
    waiting = iter(jobs)
    window = JOBS_AHEAD * max(sum(client.nthreads().values()), 1)
    running = as_completed(_submit(client, work, job) for job in islice(waiting, window))
    for finished in running:
        yield finished.result()
        for job in islice(waiting, 1):
            running.add(_submit(client, work, job))


def _submit(client: Client, work: Callable[[Job], Result], job: Job) -> "Future[Result]":
    # Impure: the result of an equal earlier call must not be handed out, since the file it made may be gone.
    return client.submit(work, job, pure=False)
