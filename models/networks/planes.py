"""Convolution and pooling of a 2-D array, as in a textbook.

LeCun et al. 1989.  Shapes: n x p the plane, k x l the kernel or the pool.
"""

from typing import Literal

from torch import Tensor, get_default_dtype


def convolve(plane: Tensor, kernel: Tensor) -> Tensor:
    """Sums of products wherever the whole kernel fits: [n, p], [k, l] -> [n - k + 1, p - l + 1].

    The kernel is not flipped (a cross-correlation, which deep learning calls a convolution).
    Raises ValueError unless both have two dimensions and the kernel is neither empty nor larger than the
    plane.
    """
    if plane.dim() != 2 or kernel.dim() != 2:
        raise ValueError(f"plane and kernel must have two dimensions, not {plane.dim()} and {kernel.dim()}")
    rows, columns = kernel.shape
    return (_places(plane, (rows, columns), (1, 1), "kernel") * kernel).sum((-2, -1))


def pool(
    plane: Tensor, size: int | tuple[int, int], stride: int | tuple[int, int], kind: Literal["max", "min", "average"]
) -> Tensor:
    """One number per whole pool of `size`, `stride` apart: [n, p] -> [(n - k) // s + 1, (p - l) // s + 1].

    `size` and `stride`: one number for both directions, or (down, across).  An average of integers is a
    float.
    Raises ValueError for a plane without two dimensions, a larger pool, numbers below 1 or an unknown kind.
    """
    if plane.dim() != 2:
        raise ValueError(f"plane must have two dimensions, not {plane.dim()}")
    pools = _places(plane, _pair(size), _pair(stride), "pool")
    if kind == "max":
        return pools.amax((-2, -1))
    if kind == "min":
        return pools.amin((-2, -1))
    if kind == "average":
        return (pools if pools.is_floating_point() else pools.to(get_default_dtype())).mean((-2, -1))
    raise ValueError(f"kind is one of max, min, average, not {kind!r}")


def _pair(number: int | tuple[int, int]) -> tuple[int, int]:
    return (number, number) if isinstance(number, int) else number


def _places(plane: Tensor, size: tuple[int, int], stride: tuple[int, int], what: str) -> Tensor:
    """[places down, places across, k, l], a view of the plane."""
    if min(*size, *stride) < 1:
        raise ValueError(f"the {what}'s size and stride must be at least 1, not {size} and {stride}")
    if size[0] > plane.shape[0] or size[1] > plane.shape[1]:
        raise ValueError(f"a {what} of {size[0]} x {size[1]} does not fit a plane of {plane.shape[0]} x {plane.shape[1]}")
    return plane.unfold(0, size[0], stride[0]).unfold(1, size[1], stride[1])
