"""tasks/serve/watch.py, since.py, watch_page.py and watched.py on a version of random weights and the panel of its training."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from models.data.panel import Panel
from models.data.window import FeatureWindow, WindowParams
from params.errors import UserError
from params.load import load_run
from tasks.grid.frequency import Frequency
from tasks.lags.panel import write_panel
from tasks.registry.load import Version
from tasks.serve import watched
from tasks.serve.since import since
from tasks.serve.watch import About, Watched, watch
from tasks.serve.watch_page import page
from tasks.tracking import connection

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of mlflow's own imports
BEGIN, DAYS, NEW = datetime(2024, 1, 1, tzinfo=UTC), 100, 20
STEP = datetime(2024, 4, 20, tzinfo=UTC)  # the tenth day since training
PARAMS = WindowParams(4, {"y": FeatureWindow(12), "x": FeatureWindow(4), "<b>": FeatureWindow(2)}, gap=1, calendar=("hour",))
RUN = (
    *("data.id=unique_id", "data.time=ds", "data.target=y", "evaluation.season=24", "name=shop", "windows.horizon=4"),
    "windows.features={y: {lookback: 12}, x: {lookback: 4}, <b>: {lookback: 2}}",
)


def table(seed: int = 0, series: int = 4) -> pl.DataFrame:
    """Hourly rows of some series, with a daily season of y, for training and the days since."""
    rng, hours = np.random.default_rng(seed), 24 * (DAYS + NEW)
    times = pl.datetime_range(BEGIN, BEGIN + timedelta(hours=hours - 1), "1h", time_unit="us", time_zone="UTC", eager=True)
    parts = []
    for number in range(series):
        level = 10.0 * number + 5 * np.sin(np.arange(hours) * 2 * np.pi / 24)
        own = {name: rng.normal(size=hours) for name in ("y", "x", "<b>")}
        parts.append(pl.DataFrame({"unique_id": f"s{number}", "ds": times, **own | {"y": level + own["y"]}}))
    return pl.concat(parts)


ENDS = BEGIN + timedelta(days=DAYS)
STEPPED = pl.when(pl.col("ds") >= STEP).then(pl.col("<b>") + 3).otherwise(pl.col("<b>")).alias("<b>")


@pytest.fixture(scope="module")
def made(house: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Version, Path]:
    """The version and its home, in which its panel is."""
    home = tmp_path_factory.mktemp("watched")
    folder = write_panel(table().filter(pl.col("ds") < ENDS).lazy(), PARAMS, Frequency("1h"), 3, home / "panels")
    facts, newest = house.facts(), ENDS - timedelta(hours=1)
    prints = {**facts.trained_on.fingerprint, "data": folder.name}
    trained = replace(
        facts.trained_on, run=load_run("params/smoke.yaml", RUN), fingerprint=prints,
        newest=int(newest.timestamp() * 1e6), newest_time=str(newest),
    )  # fmt: skip
    facts = replace(facts, windows=PARAMS, trained_on=trained)
    return Version("shop", "3", "", "", home, facts), home


def seen_of(made: tuple[Version, Path], rows: pl.DataFrame, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Watched:
    """A watch of the run's own source; nothing was served, and random weights are not asked to forecast."""
    monkeypatch.setattr("tasks.serve.watch._as_of_then", lambda *_: None)
    version, home = made
    rows.write_parquet(folder / "now.parquet")
    run = load_run("params/smoke.yaml", (*RUN, f"data.path={folder / 'now.parquet'}"))
    return watch(version, run, home)


def test_a_planted_step_is_named_with_its_column_and_day_and_nothing_else_is(made, tmp_path, monkeypatch) -> None:
    seen = seen_of(made, table().with_columns(STEPPED), tmp_path, monkeypatch)
    (found,) = seen.findings
    assert (found.about, found.since) == (About.DRIFT, "2024-04-20") and found.measure.startswith("PSI ")
    assert seen.verdict.startswith("Not fine: <b> drifts since 2024-04-20 (PSI ")
    assert (seen.since.rows, seen.since.steps) == (4 * 24 * NEW, 24 * NEW)
    text = page(seen)
    assert "<b> drifts" not in text and "&lt;b&gt; drifts" in text and text.count("data:image/png") == 2
    told = watched.metrics(seen)
    assert (told["findings"], told["drifting_columns"], told["new_rows"]) == (1, 1, 4 * 24 * NEW)
    assert told["psi__b_"] and told["psi__b_"] > 0.2


def test_data_like_trainings_are_fine(made, tmp_path, monkeypatch) -> None:
    seen = seen_of(made, table(), tmp_path, monkeypatch)
    assert seen.findings == () and seen.verdict.startswith("Fine: none of 3 columns drifts")
    nothing = seen_of(made, table().filter(pl.col("ds") < ENDS), tmp_path, monkeypatch)
    assert nothing.findings == () and nothing.verdict.startswith("Nothing to judge yet")
    assert "No forecast since training" in page(nothing)


def test_one_series_of_four_that_changes_its_level_is_drift_of_its_column(made) -> None:
    """Series count in units of their own training: it does not matter that the one that moves is the smallest."""
    version, home = made
    moved = pl.when((pl.col("ds") >= STEP) & (pl.col("unique_id") == "s0")).then(pl.col("y") + 6).otherwise(pl.col("y"))
    panel = Panel.open(home / "panels" / version.trained_on.fingerprint["data"])
    found = since(version, panel, table().with_columns(y=moved), "UTC", 24)
    (one,) = [one for one in found.drifts if one.since is not None]
    assert one.feature == "y" and found.began(one) == "2024-04-20"


def test_a_missing_a_late_and_a_new_series_are_named(made, tmp_path, monkeypatch) -> None:
    rows = table().filter(pl.col("unique_id") != "s1")
    late = rows.filter((pl.col("unique_id") != "s2") | (pl.col("ds") < ENDS + timedelta(days=18)))
    new = rows.filter(pl.col("unique_id") == "s0").with_columns(unique_id=pl.lit("brand new"))
    unknown = late.with_columns(y=pl.when((pl.col("unique_id") != "s3") | (pl.col("ds") < ENDS + timedelta(days=19))).then("y"))
    seen = seen_of(made, pl.concat([unknown, new]), tmp_path, monkeypatch)
    assert seen.since.series.absent == ("s1",) and seen.since.series.new == ("brand new",)
    assert seen.since.series.late == (("s2", 48), ("s3", 24))  # rows without a target are no news of a series
    assert [found.about for found in seen.findings] == [About.SERIES, About.SERIES]
    assert "1 series of training is absent (s1); 2 series are late (s2, 48 steps, s3, 24 steps)" in seen.verdict
    text = page(seen)
    assert "brand new" in text and "late by 48 steps" in text


def test_values_that_stop_coming_are_drift_since_the_day_on_which_they_did(made, tmp_path, monkeypatch) -> None:
    gone = table().with_columns(x=pl.when(pl.col("ds") < STEP).then("x"))
    (found,) = seen_of(made, gone, tmp_path, monkeypatch).findings
    assert found.since == "2024-04-20" and found.measure.startswith("missing in 100% of rows, in training in 0%")


def test_without_the_panel_it_is_refused_in_words(made, tmp_path) -> None:
    version, _ = made
    with pytest.raises(UserError, match="are not in"):
        watch(version, version.trained_on.run, tmp_path)


def test_a_watch_is_one_run_of_its_version_and_is_told(module_store, made, tmp_path, monkeypatch, told) -> None:
    seen = seen_of(made, table().with_columns(STEPPED), tmp_path, monkeypatch)
    assert len({watched.record(seen, "<p>", module_store) for _ in range(2)}) == 1
    later = replace(seen, since=replace(seen.since, steps=seen.since.steps + 24))
    run = connection.client().get_run(watched.record(later, "<p>", module_store))
    assert run.data.tags["version"] == "3" and run.data.metrics["drifting_columns"] == 1
    watched.tell(seen)
    (event,) = told()
    assert (event["event"], event["name"], event["version"]) == ("watch", "shop", "3")
    assert event["findings"][0]["since"] == "2024-04-20"
    watched.tell(replace(seen, findings=()))
    assert told() == []
