"""Ensembles of both kinds that would do better."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tasks.compare.measures import Scale
from tasks.evaluate import frames
from tasks.evaluate.forecasts import KEYS
from tasks.grid.frequency import Frequency
from tasks.report.reasons import better_together

FILE = ("params/variants/gru_theta.yaml", "about: the mean of gru and theta\nensemble: [gru, theta]\ncombine: mean\n")


def validation(folder: Path, both: float, missing: int = 0) -> frames.Forecasts:
    """Two series, 20 origins of 3 steps: `gru` and `theta` err by 1, a share `both` of the rows in the same direction.

    Of the first `missing` origins theta forecasts nothing.
    """
    rng = np.random.default_rng(0)
    rows = 2 * 20 * 3
    sign = rng.choice([-1.0, 1.0], rows)
    other = np.where(np.arange(rows) < both * rows, sign, -sign)
    origin = np.tile(np.repeat(np.arange(20), 3), 2)
    step = np.tile([1, 2, 3], 40)
    y = rng.normal(size=rows)
    frame = pl.DataFrame(
        {
            "unique_id": np.repeat(["a", "b"], 60),
            "ds": origin + step,
            "cutoff": origin,
            "step": step,
            "y": y,
            "gru-s1": y + sign,
            "theta": np.where(origin < missing, np.nan, y + other),
        }
    )
    sources = {name: folder / f"{name}.parquet" for name in ("gru-s1", "theta")}
    for name, file in sources.items():
        frame.select("unique_id", "cutoff", "step", name).write_parquet(file)
    return frames.write(folder / "validation.parquet", [frame.select(*KEYS, "y")], sources, 3, Frequency(1), ["a", "b"])


@pytest.mark.parametrize(("both", "wanted"), [(1.0, None), (0.75, 25.0), (0.0, 100.0)])
def test_an_ensemble_of_both_is_told_where_the_mean_of_their_forecasts_is_better(
    tmp_path: Path, both: float, wanted: float | None
) -> None:
    """Where both err alike the mean errs as they do; where they err against each other it does not err at all."""
    found = better_together(validation(tmp_path, both), "gru", ["gru-s1"], "theta", [Scale("mae", 1, pl.DataFrame())])
    if wanted is None:
        assert found is None
    else:
        assert found is not None and found.words.endswith(f"gives, is {wanted:.1f} % better than theta alone")
        assert found.settings == ("variants=[gru_theta]",) and found.file == FILE


def test_every_seed_is_a_member_of_such_an_ensemble(tmp_path: Path) -> None:
    """Two seeds that err alike, and theta the other way: of three errors of size 1 a third is left in the mean."""
    frame = validation(tmp_path, 0.0).read("gru-s1", "theta").with_columns(gru=pl.col("gru-s1"))
    files = {name: tmp_path / f"{name}.parquet" for name in ("gru", "gru-s1", "theta")}
    frame.select("unique_id", "cutoff", "step", "gru").write_parquet(files["gru"])
    both = frames.write(tmp_path / "both.parquet", [frame.select(*KEYS, "y")], files, 3, Frequency(1), ["a", "b"])
    found = better_together(both, "gru", ["gru", "gru-s1"], "theta", [Scale("mae", 1, pl.DataFrame())])
    assert found is not None and "is 66.7 % better than theta alone" in found.words


def test_together_they_are_judged_on_the_rows_of_both(tmp_path: Path) -> None:
    """Theta misses half of each series; of what is left the first series errs alike, the second the other way round."""
    found = better_together(
        validation(tmp_path, 0.5, missing=10), "gru", ["gru-s1"], "theta", [Scale("mae", 1, pl.DataFrame())]
    )
    assert found is not None and "50.0 % better" in found.words
