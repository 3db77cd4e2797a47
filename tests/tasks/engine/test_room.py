"""Which machines a fit may run on, and how many fits they carry."""

from dataclasses import replace

import pytest

from models.fit.settings import Resources
from params.errors import UserError
from tasks.engine.contract import Node, Pool
from tasks.engine.room import fitting, needs_of, slots

SMALL = Node(address="10.0.0.6", cpus=4, memory=16 * 10**9, kinds={"cpu": "cpu x86_64 AVX512"})
OLDER = replace(SMALL, address="10.0.0.7", kinds={"cpu": "cpu x86_64 AVX2"})
LARGE = replace(SMALL, address="10.0.0.8", cpus=16, gpus=2, kinds=SMALL.kinds | {"cuda": "cuda NVIDIA H200"})


def test_a_fit_needs_a_core_a_thread_and_a_gpu_where_it_runs_on_one_unless_it_says_otherwise() -> None:
    assert needs_of(2, "cpu", Resources()) == (2.0, 0.0, 0) and needs_of(1, "cuda:0", Resources()) == (1.0, 1.0, 0)
    asked = Resources(cpus=0.5, gpus=0.25, memory=10**9)
    assert needs_of(2, "cuda", asked) == (0.5, 0.25, 10**9)


@pytest.mark.parametrize(
    ("resources", "device", "count"),
    [
        (Resources(), "cpu", 4 + 16),
        (Resources(cpus=3.0), "cpu", 1 + 5),
        (Resources(cpus=0.5), "cpu", 8 + 32),
        (Resources(memory=5 * 10**9), "cpu", 3 + 3),
        (Resources(), "cuda", 2),
        (Resources(gpus=0.1), "cuda", 16),  # of 20 shares, as many as there are cores
        (Resources(gpus=0.3), "cuda", 6),
    ],
)
def test_a_machine_carries_as_many_fits_as_the_scarcest_of_what_they_need(
    resources: Resources, device: str, count: int
) -> None:
    assert slots([SMALL, LARGE], needs_of(1, device, resources)) == count


def test_machines_that_compute_in_different_ways_are_refused_unless_one_kind_is_chosen() -> None:
    pool = Pool(address="10.0.0.5:6379", nodes=(SMALL, OLDER, LARGE))
    with pytest.raises(UserError, match=r"in different ways \(cpu x86_64 AVX2, cpu x86_64 AVX512\)"):
        fitting(pool, "cpu", Resources())
    assert fitting(pool, "cpu", Resources(kind="avx512")) == [SMALL, LARGE]
    assert fitting(pool, "cuda:0", Resources(kind="H200")) == fitting(pool, "cuda", Resources()) == [LARGE]
    assert fitting(pool, "cpu", Resources(kind="H200")) == [LARGE]  # of a ridge regression beside networks that need it
    with pytest.raises(UserError, match=r"no node has cuda and is of kind A100 \(training.resources.kind\); there are: cpu"):
        fitting(pool, "cuda", Resources(kind="A100"))
    with pytest.raises(UserError, match="no node has mps; there are: cpu x86_64 AVX2, cpu x86_64 AVX512, cuda NVIDIA H200"):
        fitting(pool, "mps", Resources())


def test_fits_on_cuda_have_a_gpu() -> None:
    with pytest.raises(UserError, match=r"training.resources.gpus: 0, and fits run on cuda: take it out"):
        fitting(Pool(address="10.0.0.5:6379", nodes=(LARGE,)), "cuda", Resources(gpus=0.0))
