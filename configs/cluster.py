"""Where Dask tasks run."""

from configs.section import Count, Section


class Cluster(Section):
    """Where Dask tasks run: worker processes on this machine, or a running scheduler."""

    workers: Count
    memory_limit: str
    address: str | None
