"""tasks/serve/drift.py on generated features: a step is named with its bucket, and what training had is no drift."""

import numpy as np
import pytest

from tasks.serve.drift import Drift, counted, drift, edges_of

TRAINED, SINCE, ROWS = 240, 24, 12  # buckets, and rows of each


def judged(values: np.ndarray, since: int = SINCE, rows: int = ROWS) -> Drift:
    """The drift of a feature whose last buckets came since."""
    bucket = np.arange(len(values)) // rows
    trained = len(values) // rows - since
    edges = edges_of(values[: trained * rows])
    counts = counted(values, bucket, trained + since, edges)
    return drift("x", counts[:trained], counts[trained:])


def noise(seed: int, rows: int = (TRAINED + SINCE) * ROWS) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=rows)


def slow(seed: int, keep: float) -> np.ndarray:
    """An autoregression that keeps a share of its last value."""
    found, shocks = noise(seed), np.sqrt(1 - keep**2)
    for row in range(1, len(found)):
        found[row] = keep * found[row - 1] + shocks * found[row]
    return found


def seasonal(seed: int) -> np.ndarray:
    """A year's season, of which training holds two thirds: what comes since is the season's own next part."""
    return np.sin(2 * np.pi * np.arange((TRAINED + SINCE) * ROWS) / ROWS / 365) + 0.3 * noise(seed)


@pytest.mark.parametrize("begin", [0, 5, 12, 20])
@pytest.mark.parametrize("make", [noise, seasonal, lambda seed: slow(seed, 0.5)])
def test_a_step_is_named_with_the_bucket_at_which_it_begins(make, begin: int) -> None:
    for seed in range(3):
        values = make(seed)
        values[(TRAINED + begin) * ROWS :] += 3 * values[: TRAINED * ROWS].std()
        assert judged(values).since == begin


@pytest.mark.parametrize(
    ("make", "most"),
    [(noise, 1), (seasonal, 2), (lambda seed: slow(seed, 0.9), 3), (lambda seed: (noise(seed) > 1.3).astype(float), 1)],
)
def test_data_like_trainings_are_no_drift(make, most: int) -> None:
    """Forty panels each: the bars allow about one in a hundred, and a little more where rows resemble their neighbours."""
    assert sum(judged(make(seed)).since is not None for seed in range(40)) <= most


def test_a_wider_spread_and_missing_values_are_drift_as_well() -> None:
    values = noise(1)
    values[(TRAINED + 10) * ROWS :] *= 5
    assert judged(values).since == 10
    gone = noise(2)
    gone[(TRAINED + 7) * ROWS :] = np.nan
    found = judged(gone)
    assert found.since == 7 and found.missing == 1 and found.missing_before == 0
    assert found.psi > found.psi_bar and found.distance == 1


def test_a_constant_drifts_where_it_changes_and_not_before() -> None:
    values = np.full(len(noise(0)), 7.0)
    assert judged(values).since is None
    values[(TRAINED + 3) * ROWS :] = 7.5
    assert judged(values).since == 3


def test_psi_and_distance_are_those_of_their_definitions() -> None:
    """Two of ten equal groups exchange all their rows: both are known by hand."""
    values = np.tile(np.arange(10.0), 200)
    bucket = np.arange(2000) // 10
    counts = counted(values, bucket, 200, edges_of(values))
    moved = counted(np.where(values == 0, 1.0, values), bucket, 200, edges_of(values))
    found = drift("x", counts, moved[-20:])
    assert found.distance == pytest.approx(0.1)
    p, q = np.array([0.5, 0.5, 40.5] + [20.5] * 8), np.array([0.5] + [200.5] * 10)  # half a row more in each, first the missing
    p, q = p / p.sum(), q / q.sum()
    assert found.window == 20 and found.psi == pytest.approx(((p - q) * np.log(p / q)).sum())


def test_too_little_training_or_nothing_since_is_not_judged() -> None:
    assert not judged(noise(0)[: 10 * ROWS], since=5).judged
    counts = counted(noise(0), np.zeros(len(noise(0)), np.int64), 1, edges_of(noise(0)))
    assert not drift("x", counts, counts[:0]).judged
    assert not judged(np.full(len(noise(0)), np.nan)).since
