"""A comparison of models whose forecasts are made up, on a small panel: every figure again from the forecasts that it wrote."""

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import numpy as np
import polars as pl
import pytest

from models.data.panel import Data, Panel, Split
from models.data.window import FeatureWindow, WindowParams
from models.fit.settings import Result, Status
from models.worker import EVALUATED
from params.evaluation import Measure
from params.load import load_plan
from tasks.compare.compare import Comparison, compare
from tasks.compare.folds import naive_errors
from tasks.compare.measures import NAIVE2, scale_of, score
from tasks.evaluate.baselines import write_baselines
from tasks.evaluate.frames import targets_of
from tasks.files import write_parquet
from tasks.grid.frequency import Frequency
from tasks.lags.panel import write_panel
from tasks.lags.past import pasts
from tasks.train.fits import Fit
from tasks.train.job import Planned, plan_fits
from tasks.train.kind import Kind

pytestmark = pytest.mark.slow

HORIZON, SEASON = 4, 6
WINDOWS = WindowParams(HORIZON, {"y": FeatureWindow(8)})
SIZES = {"a": 1.0, "b": 3.0, "c": 200.0}
NAMES = ("good", "poor", "partial", "good-s1")  # of fits: two seeds of a variant, one that is worse, one with missing forecasts


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    """Three seasonal series of very different size, integer times; validation and test of 60 rows."""
    rng = np.random.default_rng(0)
    rows = 260
    wave = np.tile(np.sin(np.arange(SEASON) * 2 * np.pi / SEASON), -(-rows // SEASON))[:rows]
    parts = [
        pl.DataFrame({"unique_id": [name] * rows, "ds": range(rows), "y": size * (9 + 2 * wave + 0.5 * rng.normal(size=rows))})
        for name, size in SIZES.items()
    ]
    folder = tmp_path_factory.mktemp("panels")
    panel = Panel.open(write_panel(pl.concat(parts).lazy(), WINDOWS, Frequency(1), 0, folder))
    return Data(panel, WINDOWS, Split("rows", 60, 60))


def settings_of(by: Measure) -> list[str]:
    scaled = ["evaluation.scaled=true"] if by.endswith("_scaled") else []
    return [
        *("data.frequency=1", "windows.calendar=[]", "split={validation: 60, test: 60}", f"windows.horizon={HORIZON}"),
        *("windows.features={y: {lookback: 8}}", "evaluation.stride=2", f"evaluation.season={SEASON}"),
        *("evaluation.baselines=[last_value, drift, seasonal_naive, theta]", "evaluation.baseline_origins=12", *scaled),
        f"evaluation.choose_by={by}",
    ]


def missed(label: str, unique_id: pl.Series, rng: np.random.Generator) -> np.ndarray:
    """The errors of a made-up fit: `large` is good in the series of 200 alone, `partial` has none in the second."""
    if label == "large":
        return unique_id.replace_strict({"a": 5.0, "b": 15.0, "c": 20.0}, return_dtype=pl.Float64).to_numpy()
    size = unique_id.replace_strict(SIZES, return_dtype=pl.Float64).to_numpy()
    errors = {"good": 0.4, "good-s1": 0.5, "partial": 0.7, "poor": 3.0}[label] * size * rng.normal(size=len(size))
    return np.where((unique_id == "b").to_numpy() & (label == "partial"), np.nan, errors)


def compared_in(data: Data, by: Measure, folder: Path, names: Sequence[str] = NAMES) -> Comparison:
    plan = load_plan("params/smoke.yaml", settings_of(by))
    planned = plan_fits(plan.run, plan.variants, data.panel.folder, WINDOWS, (data.split,), "cpu")[0]
    fits = []
    for number, label in enumerate(names):
        rng = np.random.default_rng(number)
        for split in EVALUATED:
            targets = targets_of(data, split, plan.run.evaluation.stride).frame()
            made = pl.Series(label, targets["y"].to_numpy() + missed(label, targets["unique_id"], rng)).fill_nan(None)
            write_parquet(targets.drop("y").with_columns(made), folder / f"{label}-{split}.parquet")
        variant = planned.variant.model_copy(update={"variant": label.partition("-")[0]})
        fits.append(
            Fit(
                planned=Planned(label=label, variant=variant, job=planned.job),
                run_id="",
                folder=folder,
                result=Result(status=Status.FINISHED),
                validation=folder / f"{label}-validation.parquet",
                test=folder / f"{label}-test.parquet",
            )
        )
    return compare(plan.run, data, fits, write_baselines(plan.run, data, folder), folder)


@pytest.mark.parametrize("by", get_args(Measure))
def test_no_row_above_the_bar_has_a_negative_skill_and_none_below_it_a_positive_one(
    data: Data, by: Measure, tmp_path: Path
) -> None:
    found = compared_in(data, by, tmp_path)
    board = found.board
    bar = board.bar
    assert bar is not None and bar.name == found.baseline and bar["val_skill"] == bar["test_skill"] == 0.0
    assert ("naive2" in [row.name for row in board.rows]) == (by == "owa")
    place = board.rows.index(bar)
    assert {row["val_skill"] > 0 for row in board.rows[:place]} == {True}  # type: ignore[operator]
    assert {row["val_skill"] < 0 for row in board.rows[place + 1 :]} == {True}  # type: ignore[operator]
    assert board.chosen is not None and board.chosen.name == "good" and board.won and found.chosen_fit == "good"
    for row in board.rows:
        if row["test_rows"] == bar["test_rows"]:
            assert (row["test_score"] < bar["test_score"]) == (row["test_skill"] > 0)  # type: ignore[operator]


@pytest.mark.parametrize("by", get_args(Measure))
def test_every_figure_comes_back_from_the_forecasts(data: Data, by: Measure, tmp_path: Path) -> None:
    found = compared_in(data, by, tmp_path)
    scale = scale_of(load_plan("params/smoke.yaml", settings_of(by)).run.evaluation, pasts(data.panel, data.split))
    assert {row.name for row in found.rows} == {*NAMES, "last_value", "drift", "seasonal_naive", "theta", *scale.besides}
    for split, file in (("val", "validation.parquet"), ("test", "forecasts.parquet")):
        frame = pl.read_parquet(tmp_path / file)
        for row in found.rows:
            own = frame.drop_nulls(["y", row.name])
            assert row[f"{split}_mae"] == pytest.approx((own["y"] - own[row.name]).abs().mean())
            both = frame.drop_nulls(["y", row.name, found.baseline])
            assert row[f"{split}_rows"] == both.height > 0
            assert row[f"{split}_score"] == pytest.approx(score([both], row.name, scale)), row.name
            theirs = score([both], found.baseline, scale)
            assert theirs is not None and row[f"{split}_skill"] == pytest.approx(1 - row[f"{split}_score"] / theirs)
            if split == "test":
                naive = frame.drop_nulls(["y", row.name, found.naive])
                errors = [(naive["y"] - naive[name]).abs().mean() for name in (row.name, found.naive)]
                assert row["test_skill_naive"] == pytest.approx(1 - errors[0] / errors[1])  # type: ignore[operator]
    theta = next(row for row in found.rows if row.name == "theta")
    good = next(row for row in found.rows if row.name == "good")
    partial = next(row for row in found.rows if row.name == "partial")
    assert theta["test_rows"] == 3 * 12 * HORIZON and partial["test_rows"] == good["test_rows"] * 2 / 3  # type: ignore[operator]


def test_the_bar_of_a_seasonal_panel_is_on_few_origins_and_what_is_compared_with_it_too(data: Data, tmp_path: Path) -> None:
    found = compared_in(data, "mae", tmp_path)
    rows = {row.name: row for row in found.board.rows}
    assert (found.baseline, found.naive) == ("theta", "seasonal_naive")
    assert rows["good"]["test_rows"] == rows["theta"]["test_rows"] < 3 * 29 * HORIZON
    assert found.to_baseline["good"].count == 12 and found.to_naive["good"].count == 29
    good, poor = found.to_baseline["good"], found.to_baseline["poor"]
    assert good.skill is not None and good.skill == pytest.approx(rows["good"]["test_skill"]) and good.skill_low is not None
    assert good.skill_high is not None and good.skill_low < good.skill < good.skill_high
    assert poor.skill_high is not None and poor.skill_high < 0
    assert rows["good"]["test_p_baseline"] == good.p_holm and rows["good"]["test_p_naive"] == found.to_naive["good"].p_holm
    assert rows["poor"]["test_p_best"] == found.to_best["poor"].p_holm and found.to_best.keys() == rows.keys() - {"good"}
    assert "on 12 of 29 origins" in rows["theta"].note


@pytest.mark.parametrize("by", get_args(Measure))
def test_a_large_series_rules_by_the_mean_absolute_error_alone(data: Data, by: Measure, tmp_path: Path) -> None:
    found = compared_in(data, by, tmp_path, ("large", "good"))
    assert found.chosen == ("large" if by == "mae" else "good")


def test_where_no_variant_beats_the_bar_it_is_chosen(data: Data, tmp_path: Path) -> None:
    found = compared_in(data, "mase", tmp_path, ["poor"])
    assert (found.best, found.chosen, found.chosen_fit) == ("poor", found.baseline, found.baseline)
    assert not found.board.won and found.first_fit(found.baseline) == found.baseline
    chosen = found.board.chosen
    assert chosen is not None and chosen.kind is Kind.BASELINE


def test_while_training_skill_is_against_the_best_baseline_that_is_known_by_then(data: Data, tmp_path: Path) -> None:
    run = load_plan("params/smoke.yaml", settings_of("owa")).run
    baselines = write_baselines(run, data, tmp_path)
    assert NAIVE2 in baselines.files["validation"] and "theta" in baselines.files["validation"]
    errors = []
    for name, file in baselines.files["validation"].items():
        values = pl.read_parquet(file)[name]
        errors.append((values - targets_of(data, "validation", 2).frame()["y"]).abs().mean())
    assert naive_errors(run, data, baselines) == [pytest.approx(min(errors))]  # type: ignore[type-var]
