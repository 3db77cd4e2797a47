"""tasks/serve/forecast.py with baselines: a version that is one, and where a network cannot forecast; the same of a night."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from models.data.window import FeatureWindow, WindowParams
from params.errors import UserError
from params.load import load_run
from tasks.registry.facts import Fallback, Refitted
from tasks.registry.load import Version
from tasks.serve import realised
from tasks.serve.forecast import Asked, forecast, rows_trained_on
from tasks.serve.given import in_columns_of
from tasks.serve.plot import draw

pytestmark = pytest.mark.filterwarnings("ignore:Series.values returning an ndarray")  # polars, of a frame of pandas
RUN = ("data.id=series", "data.time=hour", "data.target=temp", "windows.features={y: {lookback: 12}, x: {lookback: 4}}")
Made = Callable[..., Version]


@pytest.fixture(scope="module")
def make(house: Any, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """`make(forecaster, **facts)`: a version without a registry, its bundle written and checked."""

    def version(forecaster: Any, **facts: Any) -> Version:
        folder, trained = tmp_path_factory.mktemp("bundle") / "bundle", house.made(run=load_run("params/nyc_weather.yaml", RUN))
        digest = house.write(folder, forecaster, trained_on=trained, **facts)
        return Version("own", "1", "", digest, folder, house.facts(trained_on=trained, **facts))

    return version


def besides(house: Any, name: str, widths: list[float | None], **arguments: int) -> Fallback:
    """A baseline for what a network cannot forecast; its intervals are twice as wide for a series that training did not see."""
    return Fallback(name=name, arguments={"season": 4} | arguments, calibrated=house.calibrated(widths))


@pytest.fixture(scope="module")
def version(make: Made, house: Any) -> Version:
    """A network, needing twelve rows, with two baselines to fall back on."""
    theta = besides(house, "theta", [1.0, 2.0, None, 4.0], rows=500)
    return make(house.build(), fallbacks=(theta, besides(house, "last_value", [0.25] * 4)))


@pytest.fixture(scope="module")
def theta(make: Made, house: Any) -> Version:
    """A version that is Theta."""
    windows, last = WindowParams(4, {"y": FeatureWindow(1)}, gap=1), besides(house, "last_value", [0.25] * 4)
    arguments = {"season": 24, "rows": 100}
    return make(None, variant="theta", family="theta", network=arguments, windows=windows, inputs={}, fallbacks=(last,))


def shorter(table: pl.DataFrame) -> pl.DataFrame:
    """The table, and three series that the network cannot forecast: eleven rows, three, and one value in none of the newest."""
    lga = table.filter(series="LGA").sort("hour")
    gone = pl.when(pl.int_range(pl.len()) == 0).then("temp").otherwise(None).alias("temp")
    parts = [lga.tail(11), lga.tail(3), lga.tail(2).with_columns(gone)]
    return pl.concat([table, *(part.with_columns(series=pl.lit(f"new{at}")) for at, part in enumerate(parts))])


def written(frame: pl.DataFrame, path: Path) -> Path:
    frame.write_csv(path) if path.suffix == ".csv" else frame.write_parquet(path)
    return path


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_every_series_is_forecast_and_its_model_is_named(
    version: Version, table: pl.DataFrame, tmp_path: Path, ending: str
) -> None:
    found = forecast(version, written(shorter(table), tmp_path / f"x.{ending}"))
    rows = in_columns_of(found.given, found.made, tmp_path / f"out.{ending}").rows
    assert rows.columns == ["series", "hour", "cutoff", "yhat", "yhat-lo-90", "yhat-hi-90", "model"]
    by = dict(rows.group_by("series", maintain_order=True).agg(pl.col("model").unique().item()).iter_rows())
    assert by == {"JFK": "lstm", "LGA": "lstm", "new0": "theta", "new1": "last_value", "new2": "last_value"}
    whole = forecast(version, written(table, tmp_path / "whole.parquet"))
    assert found.made.filter(model="lstm").equals(whole.made) and whole.notes == ()
    value = table.filter(series="LGA").sort("hour")["temp"][-1]
    new1 = rows.filter(series="new1")
    assert new1["yhat"].to_list() == [value] * 4 and new1["yhat-hi-90"].to_list() == pytest.approx([value + 0.5] * 4)
    assert rows.filter(series="new0")["yhat-lo-90"].is_null().to_list() == [False, False, True, False]
    (told,) = [note for note in found.notes if "forecast by" in note]
    assert told == "3 of 5 series have too little history for lstm: forecast by theta ('new0'), by last_value ('new1', 'new2')"
    assert not any("not among those of training" in note for note in found.notes)  # no baseline scales by them


def test_strict_leaves_out_and_refuses_what_the_network_cannot_forecast(
    version: Version, table: pl.DataFrame, tmp_path: Path
) -> None:
    data = written(shorter(table), tmp_path / "x.parquet")
    found = forecast(version, data, Asked(strict=True))
    assert set(found.made["model"]) == {"lstm"} and set(found.made["unique_id"]) == {"JFK", "LGA"}
    assert "no forecast of new0, new1, new2: too short a history, 12 rows are needed" in found.notes
    short = pl.concat([table.filter(series="JFK"), table.filter(series="LGA").sort("hour").tail(11)])
    with pytest.raises(UserError, match="series 'LGA': too short a history, 12 rows"):  # the version knows it
        forecast(version, written(short, data), Asked(strict=True))
    assert set(forecast(version, data).made.filter(unique_id="LGA")["model"]) == {"theta"}


def test_what_no_baseline_can_forecast_either_is_left_out_by_name(
    make: Made, house: Any, table: pl.DataFrame, tmp_path: Path
) -> None:
    version = make(house.build(), fallbacks=(besides(house, "theta", [1.0] * 4, rows=500),))
    none = table.filter(series="LGA").with_columns(series=pl.lit("none"), temp=pl.lit(None, pl.Float64))
    found = forecast(version, written(pl.concat([shorter(table), none]), tmp_path / "x.parquet"))
    assert set(found.made["unique_id"]) == {"JFK", "LGA", "new0"}
    assert [note for note in found.notes if note.startswith("no forecast")] == [
        "no forecast of none: no observed target in its window",
        "no forecast of new1, new2: too little history for lstm, theta",
    ]


def test_a_version_that_is_theta_forecasts_as_statsforecast_does(theta: Version, table: pl.DataFrame, tmp_path: Path) -> None:
    """Of JFK, with missing steps and values: a fit reads the newest hundred rows, and gaps hold the value before them."""
    from statsforecast.models import Theta

    found = forecast(theta, written(shorter(table), tmp_path / "x.csv"))
    last = table.filter(pl.col("series") == "JFK", pl.col("temp").is_not_null())["hour"].max()
    jfk = table.filter(series="JFK").sort("hour").upsample("hour", every="1h").filter(pl.col("hour") <= last).tail(100)
    y = jfk["temp"].forward_fill().drop_nulls().to_numpy()
    assert jfk["temp"].null_count() > 5 and len(y) < 101
    expected = Theta(season_length=24).forecast(y=y, h=5)["mean"][1:]  # a gap of one row
    assert found.made.filter(unique_id="JFK")["yhat"].to_list() == list(expected)
    assert found.made.filter(unique_id="JFK")["cutoff"].unique().to_list() == [last]
    assert set(found.made["model"]) == {"theta", "last_value"} and found.made["unique_id"].n_unique() == 5
    assert not any("training" in note for note in found.notes)
    many = forecast(theta, written(table, tmp_path / "y.parquet"), Asked(start="2024-01-08 12:00", stride=6, strict=True))
    assert many.made.group_by("unique_id").agg(pl.col("cutoff").n_unique())["cutoff"].to_list() == [2, 2]
    assert set(many.made["model"]) == {"theta"}


def test_a_night_forecasts_every_series_and_scores_what_the_network_forecast(
    version: Version, table: pl.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(realised, "find", lambda *_: version)
    monkeypatch.setattr(realised, "opened", nullcontext)
    run = version.trained_on.run
    data = written(shorter(table), tmp_path / "x.parquet")
    run = run.model_copy(update={"data": run.data.model_copy(update={"path": str(data)})})
    told, warning = realised.serve_forecasts.fn(run, tmp_path, tmp_path / "next.csv")
    assert told == "20 rows, 5 forecasts of 5 series by own version 1"
    assert warning is not None and "3 of 5 series have too little history for lstm: forecast by theta ('new0')" in warning
    assert pl.read_csv(tmp_path / "next.csv")["model"].value_counts().sort("model").rows() == [
        ("last_value", 8),
        ("lstm", 8),
        ("theta", 4),
    ]
    (file,) = (tmp_path / "served").rglob("*.parquet")
    kept = pl.read_parquet(file)
    own = realised.own_forecasts(kept)
    assert kept.height == 20 and set(own["unique_id"]) == {"JFK", "LGA"}
    older = kept.drop("own", "model")  # of a lagline before: all are the network's
    assert realised.own_forecasts(older).height == 20
    assert pl.concat([own, realised.own_forecasts(older)]).columns == [*realised.COLUMNS, *realised.ENDS]


def test_rows_that_a_refit_was_trained_on_are_those_of_the_network_alone(
    version: Version, table: pl.DataFrame, tmp_path: Path
) -> None:
    found = forecast(version, written(shorter(table), tmp_path / "x.parquet"), Asked(start="2024-01-08 17:00"))
    trained = version.trained_on
    refit = Refitted(
        job=trained.job, weights="0" * 64, fingerprint=trained.fingerprint, identity="0" * 64,
        seen_until={name: int(1e18) for name in ("JFK", "LGA", "new0")},
    )  # fmt: skip
    refitted = replace(version, facts=replace(version.facts, trained_on=replace(trained, refit=refit)))
    rows = rows_trained_on(refitted, found.made)
    assert rows == found.made.filter(model="lstm").height and 0 < rows < found.made.height


def test_a_page_shows_the_forecasts_of_a_baseline_under_its_name(version: Version, table: pl.DataFrame, tmp_path: Path) -> None:
    found = forecast(version, written(shorter(table), tmp_path / "x.parquet"))
    assert draw(found, version, tmp_path / "x.html", "LGA,new0") == "2 of 5 series, as they were asked for (--series)"
    text = (tmp_path / "x.html").read_text()
    assert "90 % interval of LGA." in text and "90 % interval of new0, by theta." in text
    assert text.count("<td>2024-01-0") == 8 and "<td>theta" not in text  # the first column says the times
    assert np.isnan(found.made.filter(unique_id="new0")["yhat-lo-90"].fill_null(float("nan")).to_numpy()).sum() == 1


def test_a_baseline_reads_no_covariate_and_no_file_of_what_is_known_ahead(
    theta: Version, table: pl.DataFrame, tmp_path: Path
) -> None:
    expected = forecast(theta, written(table, tmp_path / "x.csv")).made
    bare = written(table.drop("x"), tmp_path / "bare.csv")
    assert forecast(theta, bare).made.equals(expected)
    assert forecast(theta, written(table.with_columns(x=pl.lit("words")), tmp_path / "words.csv")).made.equals(expected)
    with pytest.raises(UserError, match="reads nothing that is known ahead"):  # nor did its run
        forecast(theta, bare, Asked(future=bare))
    trained = theta.trained_on
    run = trained.run.model_copy(
        update={"windows": trained.run.windows.model_copy(update={"future": ("x",), "static": {"kind": "numeric"}})}
    )
    ahead = replace(theta, facts=replace(theta.facts, trained_on=replace(trained, run=run)))
    found = forecast(ahead, bare, Asked(future=tmp_path / "none.csv"))
    assert found.made.equals(expected)
    assert found.notes == (f"--future {tmp_path / 'none.csv'} is not read: theta needs no more than the target",)
