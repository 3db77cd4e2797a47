"""Convolution and pooling of a plane against worked examples and loops in numpy."""

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view

from models.networks.planes import convolve, pool

PLANE = torch.tensor([[7, 2, 3, 3, 8], [4, 5, 3, 8, 4], [3, 3, 2, 8, 4], [2, 8, 7, 2, 7], [5, 4, 4, 5, 4]])
EDGE = torch.tensor([[1, 0, -1]] * 3)
HILL = torch.tensor([[*map(int, row)] for row in ["0012210", "0022310", "1134321", "0131310", "1225221", "0122210", "0112110"]])


def test_a_convolution_as_worked_out_by_hand() -> None:
    assert convolve(PLANE, EDGE).tolist() == [[6, -9, -8], [-3, -2, -3], [-3, 0, -2]]


def test_max_pooling_as_worked_out_by_hand() -> None:
    assert pool(HILL, 2, 2, "max").tolist() == [[0, 2, 3], [1, 4, 3], [2, 5, 2]]


@pytest.mark.parametrize(("rows", "columns", "k", "m"), [(4, 7, 2, 3), (5, 5, 1, 1), (3, 6, 3, 6), (1, 4, 1, 2)])
def test_a_convolution_has_n_minus_k_plus_1_rows_and_equals_its_sum(rows: int, columns: int, k: int, m: int) -> None:
    random = np.random.default_rng(0)
    plane, kernel = random.normal(size=(rows, columns)), random.normal(size=(k, m))
    expected = np.zeros((rows - k + 1, columns - m + 1))
    for i in range(rows - k + 1):
        for j in range(columns - m + 1):
            expected[i, j] = sum(plane[i + a, j + b] * kernel[a, b] for a in range(k) for b in range(m))
    found = convolve(torch.from_numpy(plane), torch.from_numpy(kernel))
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-12)


def test_a_convolution_equals_that_of_torch() -> None:
    torch.manual_seed(0)
    plane, kernel = torch.randn(9, 6).double(), torch.randn(4, 2).double()
    torch.testing.assert_close(convolve(plane, kernel), torch.conv2d(plane[None, None], kernel[None, None])[0, 0])


@pytest.mark.parametrize(("kind", "summary"), [("max", np.max), ("min", np.min), ("average", np.mean)])
@pytest.mark.parametrize(("size", "stride"), [(2, 2), (3, 1), ((1, 4), (3, 2)), ((5, 2), 1)])
def test_a_pool_equals_the_loop_over_its_places(kind, summary, size, stride) -> None:
    plane = np.random.default_rng(1).normal(size=(5, 8))
    (k, m), (down, across) = ((v, v) if isinstance(v, int) else v for v in (size, stride))
    expected = [[summary(plane[i : i + k, j : j + m]) for j in range(0, 8 - m + 1, across)] for i in range(0, 5 - k + 1, down)]
    found = pool(torch.from_numpy(plane), size, stride, kind)
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-12)


def test_pools_of_negative_numbers_know_no_zeros_from_outside() -> None:
    below = -1 - HILL
    windows = sliding_window_view(below.numpy(), (3, 3))[::2, ::2]
    assert pool(below, 3, 2, "max").tolist() == windows.max((-2, -1)).tolist()
    assert pool(-below, 3, 2, "min").tolist() == (-windows).min((-2, -1)).tolist()


def test_the_average_of_whole_numbers_keeps_its_fraction() -> None:
    assert pool(torch.tensor([[1, 2], [3, 5]]), 2, 1, "average").tolist() == [[2.75]]


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="two dimensions, not 3 and 2"):
        convolve(PLANE[None], EDGE)
    with pytest.raises(ValueError, match="two dimensions, not 2 and 1"):
        convolve(PLANE, EDGE[0])
    with pytest.raises(ValueError, match="kernel of 3 x 3 does not fit a plane of 5 x 2"):
        convolve(PLANE[:, :2], EDGE)
    with pytest.raises(ValueError, match="at least 1"):
        convolve(PLANE, EDGE[:0])
    with pytest.raises(ValueError, match="two dimensions"):
        pool(PLANE[0], 1, 1, "max")
    with pytest.raises(ValueError, match="pool of 6 x 6 does not fit"):
        pool(PLANE, 6, 1, "max")
    for size, stride in ((0, 1), (1, 0), ((1, -1), 1)):
        with pytest.raises(ValueError, match="at least 1"):
            pool(PLANE, size, stride, "max")
    with pytest.raises(ValueError, match="max, min, average, not 'median'"):
        pool(PLANE, 2, 2, "median")  # type: ignore[arg-type]
