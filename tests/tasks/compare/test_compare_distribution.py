"""tasks/compare/compare.py on twelve series: the scores of distributions again from the forecasts that it wrote."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from models.data.panel import Data, Panel, Split
from models.data.window import FeatureWindow, WindowParams
from models.fit.settings import Result, Status
from models.worker import EVALUATED
from params.load import load_plan
from tasks.compare.compare import Comparison, compare
from tasks.evaluate import frames
from tasks.evaluate.baselines import write_baselines
from tasks.evaluate.frames import Outcome, own_column, targets_of
from tasks.files import write_parquet
from tasks.grid.frequency import Frequency
from tasks.lags.panel import write_panel
from tasks.lags.past import target_frame
from tasks.train.fits import Fit
from tasks.train.job import Planned, plan_fits

HORIZON, SEASON, SERIES = 3, 4, 12
WINDOWS = WindowParams(HORIZON, {"y": FeatureWindow(6)})
QUANTILES = (0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975)
ENDS = {50: (0.25, 0.75), 80: (0.1, 0.9), 90: (0.05, 0.95)}
SETTINGS = [
    *("data.frequency=1", "windows.calendar=[]", "split={validation: 60, test: 40}", f"windows.horizon={HORIZON}"),
    *("windows.features={y: {lookback: 6}}", "evaluation.stride=1", f"evaluation.season={SEASON}"),
    *("evaluation.baselines=[last_value, drift]", f"training.quantiles={list(QUANTILES)}", "evaluation.levels=[50, 80, 90]"),
]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    """Twelve series from 1 to 2,048 in size, named so that the alphabet is not their order; the last hour of one is missing."""
    rng = np.random.default_rng(0)
    parts = [
        pl.DataFrame({"unique_id": f"s{number * 7 % 12:02}", "ds": range(220), "y": 2.0**number * (5 + rng.normal(size=220))})
        for number in range(SERIES)
    ]
    frame = pl.concat(parts).filter((pl.col("unique_id") != "s07") | ~pl.col("ds").is_in([90, 200]))
    folder = tmp_path_factory.mktemp("panels")
    return Data(Panel.open(write_panel(frame.lazy(), WINDOWS, Frequency(1), 0, folder)), WINDOWS, Split("rows", 60, 40))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compared")


@pytest.fixture(scope="module")
def found(data: Data, folder: Path) -> Comparison:
    """Two seeds of a variant; the first forecasts quantiles, the second nothing of one series."""
    plan = load_plan("params/smoke.yaml", SETTINGS)
    planned = plan_fits(plan.run, plan.variants, data.panel.folder, WINDOWS, (data.split,), "cpu")[0]
    fits = []
    for number, label in enumerate(("net", "net-s1")):
        rng = np.random.default_rng(number)
        for split in EVALUATED:
            targets = targets_of(data, split, 1).frame()
            size = targets.select(pl.col("y").abs().mean().over("unique_id")).to_series().to_numpy()
            point = targets["y"].fill_null(0).to_numpy() + 0.2 * size * rng.normal(size=targets.height)
            made = targets.drop("y").with_columns(pl.Series(label, point, pl.Float64))
            if number:
                made = made.with_columns(pl.when(pl.col("unique_id") != "s03").then(label).alias(label))
            else:
                made = made.with_columns(pl.Series(own_column(label, q), 0.3 * size * (q - 0.5), pl.Float32) for q in QUANTILES)
            write_parquet(made, folder / f"{label}-{split}.parquet")
        fits.append(
            Fit(
                planned=Planned(label=label, variant=planned.variant.model_copy(update={"variant": "net"}), job=planned.job),
                run_id="",
                folder=folder,
                result=Result(status=Status.FINISHED),
                validation=folder / f"{label}-validation.parquet",
                test=folder / f"{label}-test.parquet",
            )
        )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frames, "ROWS", 500)  # several blocks of rows
        return compare(plan.run, data, fits, write_baselines(plan.run, data, folder), folder)


def of_rows(frame: pl.DataFrame, model: str, level: int) -> pl.DataFrame:
    """unique_id, step, cutoff and the scores of a level for each row, from the intervals as they were written."""
    ends = {side: pl.col(f"{model}-{side}-{level}") for side in ("lo", "hi")}
    rows = frame.drop_nulls(["y", model]).with_columns(step=pl.col("ds") - pl.col("cutoff"), **ends)
    low, high, y = pl.col("lo"), pl.col("hi"), pl.col("y")
    outside = pl.max_horizontal(low - y, y - high, 0.0)
    return rows.with_columns(
        coverage=((low <= y) & (y <= high)).cast(pl.Float64), interval_score=high - low + 2 / (1 - level / 100) * outside
    )


@pytest.mark.parametrize("level", ENDS)
@pytest.mark.parametrize("model", ["net", "net-s1", "last_value", "drift"])
def test_the_scores_of_intervals_come_back_from_the_forecasts(
    found: Comparison, data: Data, folder: Path, model: str, level: int
) -> None:
    rows = of_rows(pl.read_parquet(folder / "forecasts.parquet"), model, level)
    row = next(one for one in found.rows if one.name == model)
    assert 0.02 < rows["coverage"].mean() < 1  # type: ignore[operator]
    for score in ("coverage", "interval_score"):
        assert row[f"test_{score}_{level}"] == pytest.approx(rows[score].mean())
    assert row[f"test_width_{level}"] == pytest.approx(rows.select(pl.col("hi") - pl.col("lo")).to_series().mean())
    for by, column in (("series", "unique_id"), ("step", "step")):
        table = found.slices.filter((pl.col("model") == model) & (pl.col("by") == by))
        wanted = {str(key): value for key, value in rows.group_by(column).agg(pl.col("interval_score").mean()).iter_rows()}
        assert dict(zip(table["value"], table[f"interval_score_{level}"], strict=True)) == pytest.approx(wanted)


@pytest.mark.parametrize("model", ["net", "net-s1", "drift"])
def test_a_scaled_interval_score_is_over_what_the_series_changed_in_a_season_up_to_each_cutoff(
    found: Comparison, data: Data, folder: Path, model: str
) -> None:
    history = target_frame(data.panel, data.panel.ids)
    past = {name: part["y"].to_numpy() for (name,), part in history.partition_by("unique_id", as_dict=True).items()}
    scaled: dict[str, list[float]] = {}
    for name, cutoff, score in (
        of_rows(pl.read_parquet(folder / "forecasts.parquet"), model, 90)
        .select("unique_id", "cutoff", "interval_score")
        .iter_rows()
    ):
        y = past[name][: cutoff + 1]
        naive = np.where(np.isnan(y[:-SEASON]), np.r_[[np.nan] * SEASON, y[: -2 * SEASON]], y[:-SEASON])  # or a season more
        scaled.setdefault(name, []).append(score / np.nanmean(np.abs(y[SEASON:] - naive)))
    row = next(one for one in found.rows if one.name == model)
    assert row["test_msis_90"] == pytest.approx(np.mean([np.mean(values) for values in scaled.values()]))
    table = found.slices.filter((pl.col("model") == model) & (pl.col("by") == "series"))
    assert dict(zip(table["value"], table["msis_90"], strict=True)) == pytest.approx(
        {name: np.mean(values) for name, values in scaled.items()}
    )


@pytest.mark.parametrize("model", ["net", "net-s1", "drift"])
def test_the_worst_fifth_is_the_lowest_of_five_groups_by_size(found: Comparison, folder: Path, model: str) -> None:
    rows = of_rows(pl.read_parquet(folder / "forecasts.parquet"), model, 90)
    groups = {f"s{number * 7 % 12:02}": str(number * 5 // 12 + 1) for number in range(SERIES)}
    by_fifth = rows.group_by(pl.col("unique_id").replace_strict(groups)).agg(pl.col("coverage").mean())
    wanted = dict(by_fifth.iter_rows())
    table = found.slices.filter((pl.col("model") == model) & (pl.col("by") == "fifth"))
    assert dict(zip(table["value"], table["coverage_90"], strict=True)) == pytest.approx(wanted) and len(wanted) == 5
    row = next(one for one in found.rows if one.name == model)
    assert row["test_worst_fifth_coverage_90"] == pytest.approx(min(wanted.values()))


@pytest.mark.parametrize("model", ["net", "net-s1", "last_value"])
def test_quantile_scores_are_of_the_quantiles_that_the_calibration_makes(found: Comparison, folder: Path, model: str) -> None:
    by = found.calibrations[model].calibration
    outcome = Outcome.gathered(found.test.outcomes(model, QUANTILES), found.test.rows)
    assert (outcome.own is None) == (model != "net")
    quantiles = by.quantiles(outcome.point, outcome.step, outcome.series, outcome.own)
    nine = np.arange(1, 10) / 10
    known = ~np.isnan(outcome.y) & ~np.isnan(quantiles).any(axis=1)
    y, tenths = outcome.y[known], by.at(quantiles, nine)[known]
    losses = [np.where(y >= q, level * (y - q), (1 - level) * (q - y)) for level, q in zip(nine, tenths.T, strict=True)]
    row, shape = next(one for one in found.rows if one.name == model), found.shapes[model]
    assert row["test_wql"] == pytest.approx(np.mean([2 * loss.sum() / np.abs(y).sum() for loss in losses]))
    np.testing.assert_allclose(shape.upto, [(y <= q).mean() for q in quantiles[known].T])
    np.testing.assert_allclose(shape.pit, np.histogram((tenths < y[:, None]).sum(axis=1), np.arange(11) - 0.5)[0] / len(y))
    assert shape.rows == len(y) and shape.pit.sum() == pytest.approx(1)


def test_a_row_over_seeds_has_means_and_their_spread_and_other_levels_are_null(found: Comparison) -> None:
    seeds = [row for row in found.rows if row.variant == "net"]
    row = found.board.row("net")
    for score in ("test_interval_score_90", "test_wql", "test_worst_fifth_coverage_90", "test_crps"):
        values = [one[score] for one in seeds]
        assert row[score] == pytest.approx(np.mean(values)) and row[f"{score}_spread"] == pytest.approx(np.std(values, ddof=1))  # type: ignore[arg-type]
    assert row["test_coverage_95"] is None and row["test_msis_95"] is None and row["test_msis_95_spread"] is None


def test_the_interval_score_of_validation_is_that_of_the_method_on_rows_it_was_not_calibrated_on(found: Comparison) -> None:
    for row in found.rows:
        one = found.calibrations[row.name]
        assert row["val_interval_score"] == one.scores[one.method] > 0
