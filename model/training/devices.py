"""The processes that learn together, one a device: which of them this is, and what they hand each other.

On one machine this file starts them. Under `torchrun`, on one machine or on several, it joins those that are there.
"""

import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from configs.errors import BadRequest, Failure

T = TypeVar("T")
# The first process validates and draws alone, for hours if it must, while the others wait for its word. Nothing is lost
# by waiting: a process that dies is noticed by whoever started it, who ends the others.
PATIENCE = timedelta(days=7)
TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK")  # what it says in the environment of each process


@dataclass(frozen=True)
class Devices:
    """One of the processes that learn together."""

    device: torch.device  # its own
    count: int = 1  # of processes
    rank: int = 0  # of this one, below `count`

    @property
    def leads(self) -> bool:
        """Whether this is the one that validates, writes and speaks."""
        return self.rank == 0

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Put into each of `tensors`, all of one dtype, its sum over the processes.

        They travel as one message: what a message costs is hardly its length.
        """
        if self.count == 1:
            return
        together = torch.cat([tensor.flatten() for tensor in tensors])
        dist.all_reduce(together)
        totals = torch.split(together, [tensor.numel() for tensor in tensors])
        for tensor, total in zip(tensors, totals, strict=True):
            tensor.copy_(total.view(tensor.shape))

    def share(self, tensors: Iterable[Tensor]) -> None:
        """Put the first process's values into `tensors` of all."""
        if self.count == 1:
            return
        for tensor in tensors:
            values = tensor.contiguous()
            dist.broadcast(values, src=0)
            tensor.copy_(values)

    def from_first(self, value: T) -> T:
        """The first process's `value`."""
        if self.count == 1:
            return value
        handed = [value]
        dist.broadcast_object_list(handed, src=0)
        return handed[0]

    def of_all(self, values: list[T]) -> list[T]:
        """The `values` of all processes, one's after another's."""
        if self.count == 1:
            return values
        gathered: list[list[T]] = [[]] * self.count
        dist.all_gather_object(gathered, values)
        return [value for some in gathered for value in some]

    def meet(self) -> None:
        """Wait until all processes are here."""
        if self.count > 1:
            dist.barrier()


def on_devices(count: int, work: Callable[[Devices], None]) -> None:
    """Call `work` in `count` processes, each with a GPU of its own, or on the CPU where there is no GPU at all.

    One is this process itself. Several are started on this machine, so `work` must be picklable, and when one fails or
    this process ends they all end. Under torchrun this process is one of `count` already and joins the others.

    Raises:
        BadRequest: there are fewer GPUs than processes, or torchrun has started another number of them.
        Failure: a started process was killed.
        RuntimeError: `work` raised something unforeseen in a started process; its traceback.
        Others: what `work` raises.
    """
    if all(name in os.environ for name in TORCHRUN):
        rank, world, number = (int(os.environ[name]) for name in TORCHRUN)
        if world != count:
            raise BadRequest(f"train.devices is {count}, but torchrun has started {world} processes; make them equal")
        _join(Devices(_device(number), world, rank), "env://", work)
    elif count == 1:
        work(Devices(_device(0)))
    else:
        _device(count - 1)
        _start(count, work)


def _device(number: int) -> torch.device:
    """The GPU of this number on this machine; the CPU where there is no GPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    if number >= torch.cuda.device_count():
        raise BadRequest(
            f"train.devices: {number + 1} processes on a machine with {torch.cuda.device_count()} GPUs; wanted a GPU"
            " for each, so use fewer devices"
        )
    return torch.device("cuda", number)


def _join(devices: Devices, meeting_place: str, work: Callable[[Devices], None]) -> None:
    """Call `work` as one of those who meet at a URL."""
    backend = "gloo"
    if devices.device.type == "cuda":
        torch.cuda.set_device(devices.device)
        backend = "cpu:gloo,cuda:nccl"  # who waits for words and not for tensors keeps its GPU still
    dist.init_process_group(
        backend, init_method=meeting_place, rank=devices.rank, world_size=devices.count, timeout=PATIENCE
    )
    work(devices)
    dist.destroy_process_group()


def _start(count: int, work: Callable[[Devices], None]) -> None:
    """Call `work` in `count` new processes and see them through; none of them is left behind."""
    started: dict[Connection, BaseProcess] = {}
    with tempfile.TemporaryDirectory(prefix="devices-") as folder:
        try:
            for rank in range(count):
                outcome, process = _start_one(rank, count, f"file://{folder}/met", work)
                started[outcome] = process
            _see_through(dict(started), count)
        except BaseException:
            for process in started.values():
                process.terminate()
            raise
        finally:
            for process in started.values():
                process.join()


def _start_one(
    rank: int, count: int, meeting_place: str, work: Callable[[Devices], None]
) -> tuple[Connection, BaseProcess]:
    """Start a process; the connection tells its outcome, or that it has ended without one."""
    context = multiprocessing.get_context("spawn")  # a fork would inherit threads' locks, and could not use a GPU
    outcome, said = context.Pipe(duplex=False)
    process = context.Process(target=_take_part, args=(rank, count, meeting_place, said, work), name=f"device {rank}")
    # Ctrl-C reaches every process of a terminal. It is for this one, which ends the others: they are born deaf to it.
    heard = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process.start()
    finally:
        signal.signal(signal.SIGINT, heard)
    said.close()  # the process has its own, and nobody else must hold one open
    return outcome, process


def _see_through(running: dict[Connection, BaseProcess], count: int) -> None:
    """Wait until all processes are done, or raise what ended one of them."""
    while running:
        ready = wait(list(running))
        outcomes = [_outcome(ended, running.pop(ended), count) for ended in list(running) if ended in ready]
        bad = [outcome for outcome in outcomes if outcome is not None]
        if bad:
            # Of several at once a Failure is the cause; others met something unforeseen when their peer was gone.
            raise next((outcome for outcome in bad if isinstance(outcome, Failure)), bad[0])


def _outcome(ended: Connection, process: BaseProcess, count: int) -> BaseException | None:
    try:
        return ended.recv()  # type: ignore[no-any-return]  # a connection carries anything
    except EOFError:
        process.join()
        return Failure(
            f"train: process of {process.name}, of {count}, ended with code {process.exitcode} and without a word, as"
            " one that is killed for its memory does; run the same command again to go on after the last checkpoint"
        )


def _take_part(rank: int, count: int, meeting_place: str, said: Connection, work: Callable[[Devices], None]) -> None:
    """What a started process does: call `work`, and send None or what it raised."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, torch.get_num_threads() // count))  # the cores are everyone's
    outcome: BaseException | None = None
    try:
        _join(Devices(_device(rank), count, rank), meeting_place, work)
    except (Failure, KeyboardInterrupt) as error:
        outcome = error
    except BaseException:  # noqa: BLE001  # raised by the process that started this one
        outcome = RuntimeError(f"device {rank}:\n{traceback.format_exc()}")
    sys.stdout.flush()  # from here on this process may be ended
    said.send(outcome)


def _end_with_parent() -> None:
    """End this process, whatever it does, when the one that started it was killed: nobody would notice its work."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
