"""Weights split over ranks, put together again on rank 0: by two forked ranks."""

import weakref

import torch
from fixtures.forked_ranks import fork_ranks
from torch import nn
from torch.distributed.tensor import DTensor

from rodin.train.parallel.ranks import Ranks
from rodin.train.parallel.sharded import ShardedParameters


def network():
    torch.manual_seed(1)
    made = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Linear(5, 7))
    made[1].running_mean.fill_(2.0)
    return made


def gathers_one_parameter_at_a_time(rank):
    """Whether a rank has let each gathered parameter go before the next, and rank 0 has them all on the CPU."""
    gathered, alive = [], []
    full, to_cpu = DTensor.full_tensor, torch.Tensor.cpu

    def counted(tensor, **named):
        alive.append(sum(one() is not None for one in gathered))
        whole = full(tensor, **named).clone()
        gathered.append(weakref.ref(whole))
        return whole

    wanted = network().state_dict()
    with Ranks.from_environment() as ranks:
        layout = ShardedParameters(network(), ranks, 1, [])
        DTensor.full_tensor, torch.Tensor.cpu = counted, lambda tensor: to_cpu(tensor).clone()  # as from a GPU
        state = layout.state_dict(layout.weights)
    same = set(state) == set(wanted) and all(torch.equal(state[name], wanted[name]) for name in wanted)
    return int(not (len(alive) == 6 and not any(alive) and (same if rank == 0 else state == {})))


def test_ranks_hold_one_whole_parameter_at_a_time():
    assert fork_ranks(2, gathers_one_parameter_at_a_time) == [0, 0]
