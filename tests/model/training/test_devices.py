import multiprocessing
import os
import signal
from datetime import timedelta
from functools import partial

import pytest
import torch
import torch.distributed as dist
from hypothesis import given
from hypothesis import strategies as st

from configs.errors import BadRequest, Failure
from model.training.devices import Devices, _see_through, on_devices

CPU = torch.device("cpu")
SHAPES = ((), (1,), (3, 2), (2, 3, 4, 5))


def numbers(rank):
    """Tensors of both memory formats, of other values in each process."""
    generator = torch.Generator().manual_seed(rank)
    tensors = [torch.rand(shape, generator=generator) for shape in SHAPES]
    return [*tensors, tensors[-1].to(memory_format=torch.channels_last) + 1]


def hand_over(folder, devices):
    """Note what each process gets from the other; then the first fails, and the second waits for it."""
    added, shared = numbers(devices.rank), numbers(devices.rank)
    devices.add_up(added)
    devices.share(shared)
    noted = {"pid": os.getpid(), "added": added, "shared": shared}
    noted["deaf"] = signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    noted["first"] = devices.from_first({"of": devices.rank})
    noted["all"] = devices.of_all([f"a{devices.rank}"] * (devices.rank + 1))
    torch.save(noted, folder / f"{devices.rank}.pt")
    devices.meet()
    if devices.leads:
        raise BadRequest("where, found, wanted")
    devices.meet()


@pytest.fixture(scope="module")
def noted(tmp_path_factory):
    """What two processes noted, and how they ended."""
    folder = tmp_path_factory.mktemp("devices")
    with pytest.raises(BadRequest) as ended:
        on_devices(2, partial(hand_over, folder))
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)], ended.value


def test_processes_hand_each_other_sums_and_the_first_ones_values(noted):
    sums = [one + other for one, other in zip(numbers(0), numbers(1), strict=True)]
    for said in noted[0]:
        assert all(map(torch.equal, said["added"], sums))
        assert all(map(torch.equal, said["shared"], numbers(0)))
        assert said["first"] == {"of": 0}
        assert said["all"] == ["a0", "a1", "a1"]


def test_a_failure_comes_out_as_it_was_raised_and_ends_the_others(noted):
    said, failure = noted
    assert str(failure) == "where, found, wanted"
    assert failure.status == 2
    for one in said:
        with pytest.raises(ProcessLookupError):
            os.kill(one["pid"], 0)


def test_ctrl_c_is_left_to_the_process_that_started_the_others(noted):
    assert all(said["deaf"] for said in noted[0])
    assert signal.getsignal(signal.SIGINT) == signal.default_int_handler


def test_a_process_that_ends_without_a_word_is_named():
    context = multiprocessing.get_context("spawn")
    outcome, said = context.Pipe(duplex=False)
    process = context.Process(target=os.abort, name="device 1")
    process.start()
    said.close()
    with pytest.raises(Failure, match=r"device 1, of 2, ended with code -6 .*; run the same command again to go on"):
        _see_through({outcome: process}, 2)


def test_of_outcomes_that_come_together_the_failure_is_the_cause():
    pipes = [multiprocessing.Pipe(duplex=False) for _ in range(3)]
    for (_, said), outcome in zip(pipes, (None, RuntimeError("peer gone"), Failure("disk full")), strict=True):
        said.send(outcome)
    with pytest.raises(Failure, match="disk full"):
        _see_through({outcome: multiprocessing.Process() for outcome, _ in pipes}, 3)


@given(st.lists(st.lists(st.integers(0, 3), max_size=4), min_size=1, max_size=5))
def test_any_tensors_are_summed_in_one_message(shapes):
    tensors = [torch.rand(shape) for shape in shapes]
    before = [tensor.clone() for tensor in tensors]
    sent = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dist, "all_reduce", lambda values: sent.append(values.mul_(2)))
        Devices(CPU, count=2).add_up(tensors)
    assert len(sent) == 1
    assert all(map(torch.equal, tensors, [2 * tensor for tensor in before]))


def test_one_process_hands_nothing_to_anybody():
    alone = Devices(CPU)
    value = torch.ones(2)
    alone.add_up([value])
    alone.share([value])
    alone.meet()
    assert torch.equal(value, torch.ones(2))
    assert alone.leads
    assert (alone.from_first(3), alone.of_all([4])) == (3, [4])


def torchrun(monkeypatch, rank=3, world=4, local=1):
    for name, value in (("RANK", rank), ("WORLD_SIZE", world), ("LOCAL_RANK", local)):
        monkeypatch.setenv(name, str(value))


def test_under_torchrun_a_process_joins_the_others_and_waits_for_them_as_long_as_validation_takes(monkeypatch):
    torchrun(monkeypatch)
    joined, worked = [], []
    monkeypatch.setattr(dist, "init_process_group", lambda backend, **options: joined.append((backend, options)))
    monkeypatch.setattr(dist, "destroy_process_group", lambda: None)
    on_devices(4, worked.append)
    assert worked == [Devices(CPU, count=4, rank=3)]
    ((backend, options),) = joined
    assert backend == "gloo"
    assert options.pop("timeout") > timedelta(days=1)
    assert options == {"init_method": "env://", "rank": 3, "world_size": 4}


def test_another_number_of_processes_than_torchrun_has_started_is_refused(monkeypatch):
    torchrun(monkeypatch)
    with pytest.raises(BadRequest, match=r"train\.devices is 2, but torchrun has started 4 processes; make them equal"):
        on_devices(2, print)


def test_more_devices_than_gpus_are_refused_before_anything_starts(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(BadRequest, match=r"3 processes on a machine with 2 GPUs; .* use fewer devices"):
        on_devices(3, print)
