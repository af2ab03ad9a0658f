"""Where Dask tasks run."""

from typing import Annotated

from pydantic import Field

from configs.section import Count, Section


class Cluster(Section):
    """Where Dask tasks run: worker processes on this machine, or a running scheduler."""

    workers: Count
    memory_limit: Annotated[str, Field(pattern=r"^\d+(\.\d+)? ?[kMGT]i?B$")]  # "1 GiB"
    address: str | None
