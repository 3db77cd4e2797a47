"""What validation says over several folds: means by hand, in units of the rows that each fold was trained on."""

from pathlib import Path
from statistics import stdev

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

from models.data.panel import Data, Panel, Split
from models.data.window import FeatureWindow, WindowParams
from params.errors import UserError
from params.load import load_run
from params.schema import RunParams
from tasks.compare.folds import naive_errors, scales_of, validated
from tasks.compare.measures import Scale
from tasks.evaluate.baselines import write_baselines
from tasks.evaluate.frames import Forecasts
from tasks.grid.frequency import Frequency
from tasks.lags.panel import write_panel
from tasks.lags.past import pasts

WINDOWS = WindowParams(2, {"y": FeatureWindow(3)})


def a_run(*settings: str) -> RunParams:
    own = ("data.frequency=1", "windows.calendar=[]", "split={validation: 8, test: 8, folds: 3}", "windows.horizon=2")
    own += ("windows.features={y: {lookback: 3}}", "evaluation.stride=1", "evaluation.season=2")
    return load_run("params/smoke.yaml", [*own, "evaluation.baselines=[last_value, drift]", *settings])


def data_of(folder: Path, y: list[float], folds: int = 3) -> Data:
    frame = pl.DataFrame({"unique_id": ["a"] * len(y), "ds": range(len(y)), "y": y})
    panel = Panel.open(write_panel(frame.lazy(), WINDOWS, Frequency(1), 0, folder))
    earlier = tuple(Split("rows", 8, 8 * (folds - number)) for number in range(folds - 1))
    return Data(panel, WINDOWS, Split("rows", 8, 8), earlier)


def forecasts_of(folder: Path, folds: list[dict[str, list[float | None]]]) -> Forecasts:
    """Actuals of 10 of one series, one step; the errors of each model in each fold."""
    rows = [
        pl.DataFrame({name: [None if one is None else 10.0 + one for one in errors] for name, errors in fold.items()})
        for fold in folds
    ]
    count = sum(part.height for part in rows)
    keys = pl.DataFrame({"unique_id": ["a"] * count, "ds": range(1, count + 1), "cutoff": range(count), "y": [10.0] * count})
    frame, at = pl.concat([keys, pl.concat(rows, how="vertical_relaxed")], how="horizontal"), 0
    with pq.ParquetWriter(folder / "validation.parquet", frame.to_arrow().schema) as writer:  # a row group a fold
        for part in rows:
            writer.write_table(frame.slice(at, part.height).to_arrow())
            at += part.height
    sizes = tuple(part.height for part in rows) if len(folds) > 1 else ()
    return Forecasts(folder / "validation.parquet", 1, Frequency(1), {}, ("a",), sizes)


def scale(mae: float) -> Scale:
    return Scale("mase", 1, pl.DataFrame({"unique_id": ["a"], "mae": [mae], "mse": [mae**2], "deviation": [mae]}))


def test_a_score_is_the_mean_over_folds_each_in_its_own_units(tmp_path: Path) -> None:
    """Of 3 rows, of 1 and of 2: the plain mean of all six errors would be 2."""
    folds: list[dict[str, list[float | None]]] = [
        {"gru": [1.0, 1.0, 1.0], "bar": [2.0, 2.0, 2.0]},
        {"gru": [5.0], "bar": [4.0]},
        {"gru": [2.0, 2.0], "bar": [8.0, 8.0]},
    ]
    found = validated(forecasts_of(tmp_path, folds), "gru", "bar", [scale(1.0), scale(2.0), scale(4.0)], scaled=False)
    assert found["val_mae"] == pytest.approx((1 + 5 + 2) / 3)
    assert [found[f"val_mae_fold_{number}"] for number in (1, 2, 3)] == [1.0, 5.0, 2.0]
    assert found["val_mae_fold_spread"] == pytest.approx(stdev([1.0, 5.0, 2.0]))
    each = [1 / 1, 5 / 2, 2 / 4]
    assert found["val_mase"] == found["val_score"] == pytest.approx(sum(each) / 3)
    assert [found[f"val_score_fold_{number}"] for number in (1, 2, 3)] == pytest.approx(each)
    assert found["val_rows"] == 6
    assert found["val_skill"] == pytest.approx(1 - sum(each) / (2 / 1 + 4 / 2 + 8 / 4))


def test_where_one_forecasts_nothing_in_a_fold_both_are_judged_on_the_others(tmp_path: Path) -> None:
    folds: list[dict[str, list[float | None]]] = [{"gru": [1.0], "bar": [None]}, {"gru": [3.0], "bar": [6.0]}]
    found = validated(forecasts_of(tmp_path, folds), "gru", "bar", [scale(1.0)] * 2, scaled=False)
    assert (found["val_mae"], found["val_score"], found["val_skill"], found["val_rows"]) == (2.0, 3.0, 0.5, 1)
    assert found["val_score_fold_1"] is None and found["val_score_fold_spread"] is None


def test_one_fold_has_no_spread_and_no_number(tmp_path: Path) -> None:
    found = validated(forecasts_of(tmp_path, [{"gru": [1.0, 3.0], "bar": [4.0, 4.0]}]), "gru", "bar", [scale(1.0)], False)
    assert found["val_mae"] == 2.0 and not [name for name in found if "fold" in name]


def test_each_fold_is_in_units_of_what_was_before_it(tmp_path: Path) -> None:
    """y jumps from 1 to 10 a row: what the seasonal naive errs in training grows with each fold."""
    steps = [1.0] * 20 + [10.0] * 30
    data = data_of(tmp_path, np.cumsum(steps).tolist())
    lengths = [sum(len(part.y) for part in pasts(data.panel, fold.split)) for fold in data.folds]
    assert lengths == [18, 26, 34]
    found = [scale.series["mae"][0] for scale in scales_of(a_run().evaluation, data)]
    expected = [np.abs(np.cumsum(steps)[2:rows] - np.cumsum(steps)[: rows - 2]).mean() for rows in lengths]
    assert found == pytest.approx(expected) and found[0] < found[1] < found[2]


def test_while_training_the_skill_of_a_fit_is_against_the_naive_of_its_own_fold(tmp_path: Path) -> None:
    """y rises by 1, then 10 a row; the last value errs by that at step 1 and twice that at step 2, drift by less."""
    data = data_of(tmp_path, np.cumsum([1.0] * 20 + [10.0] * 30).tolist())
    run = a_run("evaluation.baselines=[last_value]")
    found = naive_errors(run, data, write_baselines(run, data, tmp_path))
    y = np.asarray(data.panel.target)
    expected = []
    for last in (26, 34, 42):  # rows of training and validation
        origins = range(last - 8 - 1, last - 2)
        expected.append(np.mean([abs(y[at + step] - y[at]) for at in origins for step in (1, 2)]))
    assert found == pytest.approx(expected)


def test_a_fold_without_a_scale_is_named(tmp_path: Path) -> None:
    data = data_of(tmp_path, [1.0] * 20 + [1.0, 2.0] * 15)
    run = a_run("evaluation.choose_by=mase")
    with pytest.raises(UserError, match=r"before validation range 1 of 3.*lower split\.folds"):
        naive_errors(run, data, write_baselines(run, data, tmp_path))
