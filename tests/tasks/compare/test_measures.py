"""The measures by loops of numpy over series and rows, and by hand; the shares of rows, whose mean is the score."""

from dataclasses import replace
from typing import get_args

import numpy as np
import polars as pl
import pytest

from benchmarks._m4 import owa
from models.serving import baseline
from params.evaluation import Measure
from params.load import load_run
from tasks.compare.differences import compared
from tasks.compare.measures import NAIVE2, Scale, measured, measured_by, scale_of, score, shares_by, skill
from tasks.lags.past import past_of

MEASURES = get_args(Measure)
SIZES = {"a": 0.3, "b": 7.0, "c": 90.0}  # of series; `still` has no scale
FORECASTS = ("m", "m-s1", "bar", NAIVE2)


def a_frame(seed: int = 0, origins: int = 24, horizon: int = 3) -> pl.DataFrame:
    """Four series of different size and number of origins; actuals (null, NaN) and forecasts are missing here and there."""
    rng = np.random.default_rng(seed)
    parts = []
    for number, (name, size) in enumerate({**SIZES, "still": 1.0}.items()):
        some = origins - 4 * number
        cutoff, step = np.repeat(np.arange(some) * 2, horizon), np.tile(np.arange(1, horizon + 1), some)
        y = size * (5 + rng.normal(size=len(cutoff)))
        forecasts = {
            model: np.where(rng.random(len(y)) < 0.1, np.nan, y + size * (0.6 + 0.2 * place) * rng.normal(size=len(y)))
            for place, model in enumerate(FORECASTS)
        }
        y[rng.random(len(y)) < 0.1] = np.nan
        parts.append(
            pl.DataFrame({"unique_id": name, "cutoff": cutoff, "step": step, "ds": cutoff + step, "y": y, **forecasts})
        )
    frame = pl.concat(parts)
    return frame.with_columns(
        pl.col("m").fill_nan(None), y=pl.when(pl.int_range(pl.len()) % 5 > 0).then(pl.col("y").fill_nan(None))
    )


def a_scale(by: Measure) -> Scale:
    names = [*SIZES, "still"]
    mae = [0.2, 5.0, 110.0, 0.0]
    return Scale(
        by,
        1,
        pl.DataFrame(
            {"unique_id": names, "mae": mae, "mse": [2 * one**2 for one in mae], "deviation": [0.25, 6.0, 80.0, None]}
        ),
    )


def shuffled(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.sample(fraction=1, shuffle=True, seed=1)


def by_hand(frame: pl.DataFrame, model: str, needed: tuple[str, ...], scale: Scale) -> float:
    """The score of a model on the rows that have an actual and all that is needed, series by series."""
    columns = ["y", model, NAIVE2, *needed]
    kinds: dict[str, list[float]] = {name: [] for name in ("abs", "smape", "abs_scaled", "square_scaled", "mase", "rmsse")}
    base: dict[str, list[float]] = {"smape": [], "mase": []}
    for name, mae, mse, deviation in scale.series.iter_rows():
        part = frame.filter(pl.col("unique_id") == name)
        rows = np.column_stack([part[column].cast(pl.Float64).to_numpy() for column in columns])
        used = [0, 1, *([2] if scale.by == "owa" else []), *range(3, len(columns))]
        y, ours, naive = rows[~np.isnan(rows[:, used]).any(axis=1)].T[:3]
        if not len(y):
            continue
        e = np.abs(ours - y)
        kinds["abs"] += list(e)
        kinds["smape"] += list(200 * e / (np.abs(y) + np.abs(ours)))
        base["smape"] += list(200 * np.abs(naive - y) / (np.abs(y) + np.abs(naive)))
        if mae:
            kinds["mase"].append(e.mean() / mae)
            base["mase"].append(np.abs(naive - y).mean() / mae)
            kinds["rmsse"].append(np.sqrt((e**2).mean() / mse))
        if deviation:
            kinds["abs_scaled"] += list(e / deviation)
            kinds["square_scaled"] += list((e / deviation) ** 2)
    mean = {name: float(np.mean(values)) for name, values in kinds.items()}
    owa = (mean["smape"] / np.mean(base["smape"]) + mean["mase"] / np.mean(base["mase"])) / 2
    found = {"mae": "abs", "mase": "mase", "rmsse": "rmsse", "mae_scaled": "abs_scaled", "mse_scaled": "square_scaled"}
    return float(owa) if scale.by == "owa" else mean[found[scale.by]]


@pytest.mark.parametrize("by", MEASURES)
def test_a_score_equals_numpy_on_the_rows_that_all_forecast(by: Measure) -> None:
    frame, scale = shuffled(a_frame()), a_scale(by)
    found = measured([frame], ["m", "bar"], scale)
    expected = {model: by_hand(frame, model, ("m", "bar"), scale) for model in ("m", "bar")}
    assert found.scores == pytest.approx(expected)
    assert skill([frame], "m", "bar", scale) == pytest.approx(1 - expected["m"] / expected["bar"])
    alone = score([frame], "m", scale)
    assert alone == pytest.approx(by_hand(frame, "m", (), scale)) and alone != pytest.approx(expected["m"])
    there = frame.with_columns(pl.col("m", "bar", "y", NAIVE2).fill_nan(None)).drop_nulls(["m", "bar", "y", *scale.besides])
    unscaled = 0 if by in ("mae", "owa") else there.filter(pl.col("unique_id") == "still").height
    assert found.rows == there.height - unscaled < frame.height


@pytest.mark.parametrize("by", MEASURES)
def test_the_mean_of_the_shares_of_rows_is_the_score(by: Measure) -> None:
    frame, scale = shuffled(a_frame()), a_scale(by)
    found = shares_by([frame], ["m", "bar"], scale, ("unique_id", "cutoff", "step"))
    whole = measured([frame], ["m", "bar"], scale)
    assert found.height == whole.rows == found["_n"].sum()
    assert {model: found[model].mean() for model in ("m", "bar")} == pytest.approx(whole.scores)
    steps = shares_by([frame], ["m", "bar"], scale, ("step",))
    assert steps["m"].to_list() == pytest.approx(found.group_by("step").agg(pl.col("m").sum()).sort("step")["m"].to_list())


def test_a_share_of_an_owa_is_the_issue_s_formula_where_series_have_as_many_rows() -> None:
    """(sMAPE_i / sMAPE of Naive2 + scaled error_i / MASE of Naive2) / 2."""
    frame = a_frame().filter(pl.col("unique_id") != "still", pl.col("cutoff") < 20)
    frame = frame.with_columns(pl.col("y", "m", NAIVE2).fill_nan(None).fill_null(5.0))
    scale = a_scale("owa")
    rows = frame.join(scale.series, on="unique_id")
    smape = {
        name: 200 * (pl.col("y") - pl.col(name)).abs() / (pl.col("y").abs() + pl.col(name).abs()) for name in ("m", NAIVE2)
    }
    scaled = {name: (pl.col("y") - pl.col(name)).abs() / pl.col("mae") for name in ("m", NAIVE2)}
    share = (smape["m"] / smape[NAIVE2].mean() + scaled["m"] / scaled[NAIVE2].mean()) / 2
    rows = rows.select("unique_id", "cutoff", "step", share=share).sort("unique_id", "cutoff", "step")
    keys = ("unique_id", "cutoff", "step")
    assert shares_by([frame], ["m"], scale, keys)["m"].to_list() == pytest.approx(rows["share"].to_list())


@pytest.mark.parametrize("by", MEASURES)
def test_a_slice_is_scored_as_if_it_were_alone(by: Measure) -> None:
    frame, scale = a_frame(), a_scale(by)
    for slices in (pl.col("unique_id"), pl.col("step")):
        found = measured_by([shuffled(frame)], ["m", "bar"], scale, slices)
        for value, rows, ours, theirs in found.iter_rows():
            alone = measured([frame.filter(slices == value)], ["m", "bar"], scale)
            assert (alone.rows, alone.scores) == (rows, pytest.approx({"m": ours, "bar": theirs}))
        assert found.height >= 3


def test_the_owa_is_the_competition_s() -> None:
    """Seasonal and other series, positive as M4's are, one origin each; Naive2 by our own baseline, the rest by `_m4`."""
    rng = np.random.default_rng(6)
    horizon, season, history, frames = 5, 4, [], []
    for number, rows in enumerate((40, 41, 43, 60, 12, 90)):
        wave = np.tile([0.5, 1.0, 1.6, 0.9], 30)[: rows + horizon] if number % 2 else np.ones(rows + horizon)
        y = 10.0 ** (number - 2) * wave * (1 + 0.05 * np.abs(rng.normal(size=rows + horizon)))
        ds, forecasts = np.arange(rows + horizon), y[rows:] * (1 + 0.1 * rng.normal(size=(2, horizon)))
        history.append(pl.DataFrame({"unique_id": f"s{number}", "ds": ds, "y": y}))
        made = baseline("naive2", {"season": season}, y, np.array([0]), np.array([rows - 1]), np.arange(1, horizon + 1))
        frame = pl.DataFrame({"unique_id": f"s{number}", "ds": ds[rows:], "cutoff": rows - 1, "y": y[rows:], NAIVE2: made[0]})
        frames.append(frame.with_columns(pl.Series("m", forecasts[0]), pl.Series("n", forecasts[1])))
    frame, past = pl.concat(frames).with_columns(step=pl.int_range(pl.len()) % horizon + 1), pl.concat(history)
    published = owa(frame, past, ["m", "n"], season)
    ends = frame.group_by("unique_id").agg(pl.col("cutoff").max())
    evaluation = load_run("params/smoke.yaml", ["evaluation.choose_by=owa", f"evaluation.season={season}"]).evaluation
    assert evaluation.baselines[-1] == NAIVE2
    scale = scale_of(evaluation, [past_of(past.join(ends, on="unique_id").filter(pl.col("ds") <= pl.col("cutoff")))])
    assert measured([frame], ["m", "n", NAIVE2], scale).scores == pytest.approx(
        {name: one["owa"] for name, one in published.items()}
    )
    found, expected = skill([frame], "m", "n", scale), {name: published[name]["owa"] or 0.0 for name in ("m", "n")}
    assert found == pytest.approx(1 - expected["m"] / expected["n"])


def test_naive2_has_an_owa_of_one() -> None:
    assert score([a_frame()], NAIVE2, a_scale("owa")) == pytest.approx(1, abs=1e-12)


def test_what_cannot_be_scored_has_no_score() -> None:
    frame = a_frame().with_columns(none=pl.lit(None, pl.Float64))
    for by in MEASURES:
        scale = a_scale(by)
        assert measured([frame], ["none", "m"], scale) == measured([frame.clear()], ["none", "m"], scale)
        assert measured([frame], ["none", "m"], scale).scores == {"none": None, "m": None}
        assert skill([frame], "m", "none", scale) is None and compared([frame], ["m"], ["none"], scale) is None
        still = frame.filter(pl.col("unique_id") == "still")
        assert (score([still], "m", scale) is None) == (by != "mae"), by
    perfect = frame.with_columns(bar=pl.col("y"), **{NAIVE2: pl.col("y")})
    for by in MEASURES:
        assert skill([perfect], "m", "bar", a_scale(by)) is None
    assert score([perfect], "m", a_scale("owa")) is None  # nothing to divide by
    assert compared([perfect], ["m"], ["bar"], a_scale("owa")) is None


@pytest.mark.parametrize("by", MEASURES)
def test_a_difference_is_that_of_the_scores_on_common_rows(by: Measure) -> None:
    frame, scale = a_frame(origins=40), a_scale(by)
    found = compared([shuffled(frame)], ["m", "m-s1"], ["bar"], scale)
    assert found is not None and (found.over, found.count) == ("origins", 40)
    one, two, bar = (by_hand(frame, model, ("m", "m-s1", "bar"), scale) for model in ("m", "m-s1", "bar"))
    assert found.mean == pytest.approx((one + two) / 2 - bar)
    assert found.skill == pytest.approx(1 - (one + two) / 2 / bar)
    assert found.low is not None and found.high is not None and found.low < found.mean < found.high
    assert found.skill_low is not None and found.skill_high is not None and found.skill_low < found.skill < found.skill_high
    assert found.p is not None and 0 < found.p < 0.1 and found.statistic is not None and found.statistic < 0
    back = compared([frame], ["bar"], ["m", "m-s1"], scale)
    assert back is not None and back.p == pytest.approx(found.p) and back.mean == pytest.approx(-found.mean)
    same = compared([frame], ["m"], ["m"], scale)
    assert same is not None and (same.mean, same.p, same.skill) == (0.0, None, 0.0)


def test_one_large_series_says_nothing_where_series_weigh_alike() -> None:
    """The same forecasts of a series in pence and in pounds: the MAE follows the pence, the others do not."""
    frame = a_frame()
    pence = pl.when(pl.col("unique_id") == "a").then(100.0).otherwise(1.0)
    larger = frame.with_columns(pl.col("y", *FORECASTS) * pence)
    for by in MEASURES:
        scale = a_scale(by)
        units = scale.series.with_columns(pl.col("mae", "deviation") * pence, pl.col("mse") * pence**2)
        ours, theirs = (skill([frame], "m", "bar", scale), skill([larger], "m", "bar", replace(scale, series=units)))
        assert (ours == pytest.approx(theirs)) == (by != "mae")


def by_series(frame: pl.DataFrame) -> list[pl.DataFrame]:
    """A block a series; one of them without a row."""
    blocks = frame.partition_by("unique_id", maintain_order=True)
    return [blocks[0], frame.clear(), *blocks[1:]]


@pytest.mark.parametrize("by", MEASURES)
def test_blocks_of_one_series_give_what_one_block_of_all_gives(by: Measure) -> None:
    """With missing values, and a series without a scale; the differences over origins and over series."""
    frame, scale = a_frame(), a_scale(by)
    whole, parts = measured([frame], ["m", "bar"], scale), measured(by_series(frame), ["m", "bar"], scale)
    assert parts.rows == whole.rows and parts.scores == pytest.approx(whole.scores, rel=1e-12)
    for slices in (pl.col("unique_id"), pl.col("step")):
        one, other = (measured_by(blocks, ["m", "bar"], scale, slices) for blocks in ([frame], by_series(frame)))
        assert one.select("_slice", "_rows").equals(other.select("_slice", "_rows"))
        for model in ("m", "bar"):
            np.testing.assert_allclose(one[model].to_numpy(), other[model].to_numpy(), rtol=1e-12)
    keys = ("step", "cutoff")
    one, other = (shares_by(blocks, ["m"], scale, keys) for blocks in ([frame], by_series(frame)))
    np.testing.assert_allclose(one["m"].to_numpy(), other["m"].to_numpy(), rtol=1e-12)
    few = pl.concat(frame.filter(pl.col("cutoff") == 4).with_columns(unique_id=pl.col("unique_id") + str(k)) for k in range(5))
    series = pl.concat(
        scale.series.with_columns(unique_id=pl.col("unique_id") + str(k), mae=pl.col("mae") * (k + 1)) for k in range(5)
    )
    for table, units, over in ((frame, scale, "origins"), (few, replace(scale, series=series), "series")):
        one_, other_ = (compared(blocks, ["m", "m-s1"], ["bar"], units) for blocks in ([table], by_series(table)))
        assert one_ is not None and other_ is not None and one_.over == other_.over == over and one_.p is not None
        for name in ("mean", "low", "high", "statistic", "p", "skill", "skill_low", "skill_high"):
            assert getattr(other_, name) == pytest.approx(getattr(one_, name), rel=1e-9), name
        assert (one_.count, one_.rows) == (other_.count, other_.rows)
