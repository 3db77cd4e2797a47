"""Rows that are thinned while they are read are those that would be kept of all of them together."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tasks.calibrate.thinned import calibrating, known, thinned
from tasks.evaluate import frames
from tasks.evaluate.forecasts import KEYS, own_column
from tasks.evaluate.frames import Forecasts, Outcome
from tasks.grid.frequency import Frequency

HORIZON, LEVELS = 3, (0.1, 0.9)


def forecasts_of(folder: Path, folds: int, origins: dict[str, int], hole: bool) -> Forecasts:
    """Series with some origins each in each fold, with actuals, forecasts and whole origins missing."""
    rng, blocks, first = np.random.default_rng(0), [], 0
    for fold in range(folds):
        for name, count in origins.items():
            cutoff = np.repeat(np.arange(count) + 100 * fold, HORIZON)
            step = np.tile(np.arange(1, HORIZON + 1), count)
            y, model = rng.normal(size=(2, len(cutoff)))
            if hole:
                y[rng.random(len(y)) < 0.2] = np.nan
                model[rng.random(len(y)) < 0.2] = np.nan
                model[cutoff % 100 == 1] = np.nan
            block = pl.DataFrame({"unique_id": name, "ds": cutoff + step, "cutoff": cutoff, "step": step, "y": y, "m": model})
            block = block.with_columns(pl.lit(0.5, pl.Float32).alias(own_column("m", level)) for level in LEVELS)
            blocks.append(block.with_columns(_fold=pl.lit(fold, pl.Int32)) if folds > 1 else block)
            first += len(cutoff)
    own = ["m", *(own_column("m", level) for level in LEVELS)]
    sources = {"m": frames.write_columns(pl.concat(blocks), own, folder / "m.parquet")["m"]}
    targets = [block.select(*KEYS, "y", *(["_fold"] if folds > 1 else [])) for block in blocks]
    return frames.write(folder / "v.parquet", targets, sources, HORIZON, Frequency(1), [*origins])


@pytest.mark.parametrize("hole", [False, True])
@pytest.mark.parametrize("folds", [1, 3])
@pytest.mark.parametrize("most", [1, 7, 40, 100, 10_000])
def test_the_same_rows_are_kept(tmp_path: Path, most: int, folds: int, hole: bool) -> None:
    found = forecasts_of(tmp_path, folds, {"a": 9, "b": 2, "c": 13, "d": 1}, hole)
    wanted = thinned(known(Outcome.gathered(found.outcomes("m", LEVELS), found.rows)), most)
    for name, part in calibrating(found, "m", LEVELS, most)._asdict().items():
        one = getattr(wanted, name)
        if one is None:
            assert part is None
        else:
            np.testing.assert_array_equal(part, one, name)


def test_the_last_origin_of_each_series_and_every_so_manieth_before_it_stay(tmp_path: Path) -> None:
    """60 rows, of which 20 may stay: every third origin of 12 and of 8."""
    found = calibrating(forecasts_of(tmp_path, 1, {"a": 12, "b": 8}, False), "m", LEVELS, 20)
    assert found.cutoff[found.series == 0][::HORIZON].tolist() == [2, 5, 8, 11]
    assert found.cutoff[found.series == 1][::HORIZON].tolist() == [1, 4, 7]
    assert found.own is not None and found.own.shape == (7 * HORIZON, 2)
