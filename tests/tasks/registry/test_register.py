"""What is registered where no variant wins: the best baseline, once for an identity, with what it takes to judge it again."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from models import serving
from models.baseline_fit import forecasts_hash
from models.data.panel import Panel, Split
from models.fit.job import Job
from params.load import load_run
from tasks.compare.board import Board, ScoreRow
from tasks.promote.proof import reproduce
from tasks.registry.bundle import example
from tasks.registry.load import Version, opened
from tasks.registry.register import fallbacks_of, register_best
from tasks.registry.standing import fallen
from tasks.registry.unseen import common_origins, forecast_frames, forecasts
from tasks.registry.versions import Registered, needed, requirements
from tasks.tracking import connection, runs
from tasks.train.identity import Provenance, fingerprint, identity
from tasks.train.kind import Kind
from tasks.validate.verdict import Verdict
from tests.marks import OF_IMPORTS, STORE

pytestmark = [*STORE, OF_IMPORTS]
WIDTHS = [1.0, 2.0, None, 4.0]
SCORES = {"theta": 1.0, "drift": 2.0, "last_value": 3.0, "gru": 4.0, "seasonal_naive": None}


class Home:
    """A state folder that keeps the panel of the house, and the job of a fit on it."""

    def __init__(self, folder: Path, house: Any) -> None:
        self.folder, self.house = folder, house
        (folder / "panels").mkdir()
        panel = folder / "panels" / house.panel.digest
        panel.symlink_to(Path(house.panel.target.filename).parent)
        split = Split("time", int(house.panel.times[110]), int(house.panel.times[150]))
        self.job: Job = replace(house.made().job, panel=panel, split=split)
        self.about = Provenance(
            Verdict(True, [], [], [], {"rows": 10, "series": 1, "first": "a", "last": "b"}, []),
            "python -m flows compare x.yaml",
            fingerprint(self.job, house.panel.digest),
        )

    def found(self, bar: str, **scores: float | None) -> Any:
        """What a comparison found: the scores of validation by name; the gru loses."""
        rows = []
        for name, score in (SCORES | scores).items():
            kind = Kind.VARIANT if name == "gru" else Kind.BASELINE
            numbers = {"val_score": score, "val_mae": score, "test_mae": score}
            rows.append(ScoreRow(name=name, kind=kind, variant=name, numbers=numbers))
        board, calibrations = Board.of(rows, bar), {name: self.house.calibrated(WIDTHS, method=f"of {name}") for name in SCORES}
        return SimpleNamespace(board=board, rows=rows, baseline=bar, naive="drift", chosen_fit=bar, calibrations=calibrations)

    def parent(self, name: str, number: int, bar: str) -> str:
        """The run of a comparison, with that of its baseline below it."""
        parent, _ = runs.parent_run(runs.experiment(name, self.folder), name, str(number) * 64)
        runs.finish(runs.child_run(parent, bar, f"{parent}{bar}", {"kind": "baseline", "variant": bar}))
        runs.finish(parent)
        return parent

    def register(self, name: str, parent: str, found: Any, *settings: str) -> Registered:
        run = load_run("params/nyc_weather.yaml", [f"name={name}", "windows.horizon=4", "windows.gap=1", *settings])
        fit: Any = SimpleNamespace(job=self.job)
        return register_best.fn(run, found, [fit], parent, self.folder, self.about)


@pytest.fixture(scope="module")
def home(module_store: Path, house: Any) -> Home:
    return Home(module_store, house)


@pytest.fixture(scope="module")
def theta(home: Home) -> Any:
    """A registered Theta, opened."""
    home.register("theta", home.parent("theta", 1, "theta"), home.found("theta"))
    with opened(needed("theta", "1")) as version:
        yield version


def test_the_best_baseline_is_one_version_for_one_identity_and_stands_until_it_is_deleted(home: Home) -> None:
    parents = [home.parent("story", number, "drift") for number in (1, 2)]
    first, again = (home.register("story", parent, home.found("drift", theta=None)) for parent in parents)
    assert first == Registered("1", new=True, baseline="drift") and again == replace(first, new=False)
    assert first.words("story").endswith("alias challenger.  It is the baseline drift, which no variant beats on validation.")
    assert again.words("story").startswith("The same baseline is story version 1 already: no new version.")
    version = needed("story", "challenger")
    run = connection.client().get_run(version.run_id)
    assert (run.data.tags["mlflow.parentRunId"], run.data.tags["kind"]) == (parents[0], "baseline")
    assert version.tags["val_mae"] == "2" and "seed" not in version.tags
    assert [fallen("story", parent) for parent in parents] == [None, None]
    connection.client().delete_model_version("story", "1")
    assert [fallen("story", parent) for parent in parents] == ["version 1 was deleted"] * 2
    once_more = home.register("story", parents[1], home.found("drift", theta=None))
    assert once_more == Registered("2", new=True, baseline="drift") and fallen("story", parents[1]) is None


def test_another_season_is_another_version_and_nothing_that_has_no_score_is_one(home: Home) -> None:
    made = [
        home.register("seasons", home.parent("seasons", number, "theta"), home.found("theta"), f"evaluation.season={season}")
        for number, season in ((1, 24), (2, 12), (3, 24))
    ]
    assert [(one.version, one.new) for one in made] == [("1", True), ("2", True), ("1", False)]
    nothing = home.found("drift", **dict.fromkeys(SCORES))
    nothing.board = Board.of(nothing.rows, None)
    assert nothing.board.chosen is None
    assert home.register("nothing", home.parent("nothing", 1, "drift"), nothing) == Registered()


def test_a_baseline_says_what_it_is_and_needs_what_its_fallbacks_need(home: Home, theta: Version) -> None:
    facts, made = theta.facts, theta.trained_on
    assert (facts.variant, facts.family, facts.network) == ("theta", "theta", {"season": 24, "rows": 500})
    assert facts.inputs == {} and facts.combined is None and list(facts.windows.features) == ["y"]
    assert (facts.windows.horizon, facts.windows.gap, facts.calibrated.method) == (4, 1, "of theta")
    np.testing.assert_array_equal(facts.calibrated.calibration.offsets[0, :, -1], [1.0, 2.0, np.nan, 4.0])
    assert [one.name for one in facts.fallbacks] == ["drift", "last_value"]  # seasonal_naive has no score
    assert facts.fallbacks[0].calibrated.method == "of drift" and facts.fallbacks[0].arguments == {"season": 24}
    assert (made.bar, made.naive, made.scores["val_score"], made.refit) == ("theta", "drift", 1.0, None)
    assert made.weights == forecasts_hash(made.job_in(home.folder / "panels", "cpu"), home.house.panel)
    assert made.fingerprint["identity"] == identity(made.job, home.house.panel.digest) == needed("theta", "1").tags["identity"]
    assert any(one.startswith("statsforecast==") for one in requirements(facts.needed, {}))
    alone = replace(facts, family="drift", fallbacks=facts.fallbacks[1:])
    assert not any(one.startswith("statsforecast") for one in requirements(alone.needed, {}))
    assert {path.name for path in theta.folder.iterdir()} >= {"model.json", "card.md", "checks.json", "example.json", "code"}
    assert not list(theta.folder.rglob("*.pt2")) + list(theta.folder.rglob("*.safetensors"))
    example = json.loads((theta.folder / "example.json").read_text())
    assert example["columns"] == ["unique_id", "ds", "y"] and len(example["data"]) == 3 * 24


def test_the_first_fallback_is_the_bar_then_as_on_the_board(home: Home) -> None:
    assert [one.name for one in fallbacks_of(home.found("last_value"), 24)] == ["last_value", "theta", "drift"]
    assert [one.name for one in fallbacks_of(home.found("last_value"), 24, "theta")] == ["last_value", "drift"]


def test_on_unseen_origins_it_forecasts_as_the_serving_code_does_where_it_has_history(home: Home, theta: Version) -> None:
    panel, params, split = home.house.panel, theta.facts.windows, home.job.split
    assert split is not None
    origins = common_origins(panel, split, 6, [theta])
    assert len(origins) and (panel.times[origins + params.gap + 1] >= split.test).all()
    found = forecasts(theta, panel, origins)
    for row, values in zip(origins, found, strict=True):
        begin = int(panel.offsets[np.searchsorted(panel.offsets, row, side="right") - 1])
        alone = panel.target[begin : row + 1]
        one = serving.baseline(
            "theta", {"season": 24, "rows": 500}, alone, np.array([0]), np.array([len(alone) - 1]), np.arange(2, 6)
        )
        np.testing.assert_array_equal(values, one[0])
    frame = forecast_frames(panel, origins, {"ours": theta}, theta.trained_on.run, ["theta", "naive2", "drift"])
    assert {"ours", "ours-lo-90", "theta", "naive2", "drift"} <= set(frame.columns)
    assert frame.height == 4 * len(origins) and frame["ours"].to_list() == found.ravel().tolist()
    assert frame["theta"].to_list() == frame["ours"].to_list() and frame["naive2"].null_count() == 0
    early = Split("time", int(panel.times[20]), int(panel.times[30]))  # two seasons are 48 rows, and some are missing
    own = replace(theta, facts=replace(theta.facts, trained_on=replace(theta.trained_on, unseen_from=0)))
    first = common_origins(panel, early, 1, [own])
    seen = [np.isfinite(panel.target[: row + 1]).sum() for row in first if row < panel.offsets[1]]
    assert min(seen) == 48


def test_a_seasonal_naive_is_judged_where_a_season_before_has_values(home: Home) -> None:
    """The first series lacks rows and values; one of its seasons is gone."""
    bar = "seasonal_naive"
    home.register("seasonal", home.parent("seasonal", 1, bar), home.found(bar, seasonal_naive=0.5))
    panel, split = home.house.panel, home.job.split
    target = np.array(panel.target)
    target[: panel.offsets[1] - 8] = np.nan  # of the first series the newest eight rows are left
    assert split is not None
    with opened(needed("seasonal", "1")) as version:
        lacking = replace(panel, target=target)
        origins = common_origins(lacking, split, 1, [version])
        assert len(origins) and np.isfinite(forecasts(version, lacking, origins)).all()
        assert set(np.searchsorted(panel.offsets, origins, side="right") - 1) == {1}
        assert len(common_origins(panel, split, 1, [version])) > len(origins)


@pytest.fixture
def kept(home: Home, theta: Version) -> Callable[..., Version]:
    """The version as if it had been registered otherwise."""

    def make(**changes: Any) -> Version:
        return replace(theta, facts=replace(theta.facts, trained_on=replace(theta.trained_on, **changes)))

    return make


def test_it_is_reproduced_in_a_process_of_its_own_and_another_library_is_named(
    home: Home, theta: Version, kept: Callable[..., Version]
) -> None:
    proof = reproduce(theta, home.folder, "cpu")
    assert proof.exact and proof.same and proof.differing == ()
    assert proof.words.startswith("the same forecasts, bit for bit (sha256 ")
    printed = theta.trained_on.fingerprint
    older = reproduce(kept(fingerprint=printed | {"statsforecast": "0.0.1"}), home.folder, "cpu")
    assert older.exact and [change.field for change in older.differing] == ["statsforecast"]
    other = reproduce(kept(fingerprint=printed | {"statsforecast": "0.0.1"}, weights="0" * 64), home.folder, "cpu")
    assert not other.same and other.words.startswith("other forecasts came out (")
    assert "not 000000000000); differing: statsforecast (0.0.1 then, " in other.words
    code = reproduce(kept(fingerprint=printed | {"code": "0" * 64}), home.folder, "cpu")
    assert code.exact and [change.field for change in code.differing] == ["code"]
    data = reproduce(kept(fingerprint=printed | {"numbers": {}}), home.folder, "cpu")
    assert not data.same and data.words.startswith("cannot forecast again as it was: numbers (")


def test_a_panel_whose_networks_do_not_read_the_target_is_forecast_too(home: Home, theta: Version) -> None:
    panel = home.house.panel
    only = Panel(panel.target, panel.values[:, 1:2], panel.offsets, panel.times, panel.ids, ("x",), "", facts=panel.facts)
    split = home.job.split
    assert split is not None
    origins = common_origins(only, split, 6, [theta])
    assert origins.tolist() == common_origins(panel, split, 6, [theta]).tolist()
    np.testing.assert_array_equal(forecasts(theta, only, origins), forecasts(theta, panel, origins))
    assert example(only, theta.facts) == example(panel, theta.facts)
