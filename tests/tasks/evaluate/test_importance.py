"""Known answers: the covariate that drives a generated panel is found, with its delay; the others are not."""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import pytest
import torch

from models.data.panel import Panel, Split
from models.data.window import FeatureWindow, WindowParams
from models.data.windows import Windows
from models.ensemble import Model
from models.fit.job import Job, Rule, load_model, run, windows_of
from models.fit.settings import Training
from tasks.evaluate.gradients import gradients_of
from tasks.evaluate.importance import Driver, Ruler, drivers_of, threads
from tasks.evaluate.permute import Partners, Role, partners_of
from tasks.grid.frequency import Frequency
from tasks.lags.panel import write_panel

ROWS, DELAY, NOISE = 700, 5, 0.5
NAMES = ("a", "b", "c", "d", "e", "f")
DRIVES = "c"
DRIVING = {((5, 6), 0), ((4, 4), 1)}  # blocks of lags and the step (from 0) that they drive


class Explained(NamedTuple):
    """A trained model and what was measured of it."""

    job: Job
    model: Model
    windows: Windows
    partners: Partners
    drivers: dict[str, Driver]


def frame(drive: Callable[[dict[str, np.ndarray], int], np.ndarray], series: int = 3, **statics: list[float]) -> pl.LazyFrame:
    """Six covariates of white noise; y is what `drive` makes of them, with noise of its own."""
    rng, parts = np.random.default_rng(5), []
    for number in range(series):
        x = {name: rng.normal(size=ROWS) for name in NAMES}
        y = drive(x, number) + NOISE * rng.normal(size=ROWS)
        ds = [datetime(2024, 1, 1) + timedelta(hours=i) for i in range(ROWS)]
        one = {"unique_id": f"s{number}", "ds": ds, "y": y, **x, **{name: values[number] for name, values in statics.items()}}
        parts.append(pl.DataFrame(one))
    return pl.concat(parts).with_columns(pl.col("ds").dt.cast_time_unit("us").dt.replace_time_zone("UTC")).lazy()


def explained(
    folder: Path, rows: pl.LazyFrame, params: WindowParams, family: str = "ridge", network: dict[str, object] | None = None
) -> Explained:
    """Trains a fit and measures it on its test range."""
    panel = Panel.open(write_panel(rows, params, Frequency("1h"), 0, folder / "panels"))
    training = Training(
        max_epochs=15, patience_epochs=5, batch_size=64, learning_rate=0.01, weight_decay=0.0, clip_norm=1.0, loss="mae",
        variant=family, seed=0,
    )  # fmt: skip
    job = Job(
        family=family, network=network or {}, windows=params, split=Split("rows", 150, 250), scaling=Rule("global", "none"),
        training=training, evaluation_stride=1, threads=1, device="cpu", panel=panel.folder,
    )  # fmt: skip
    fit = folder / family
    fit.mkdir()
    assert run(job, fit, lambda row: None).finished
    model = load_model(job, fit)
    return measured(job, model, windows_of(job, panel, ("test",))["test"])


def measured(job: Job, model: Model, windows: Windows) -> Explained:
    with threads(1):
        partners = partners_of(windows, 24, 400, 2)
        drivers, over = drivers_of(model, job, partners, Ruler(np.ones(len(partners.windows))))
    assert over == "origins"
    return Explained(job, model, windows, partners, {one.name: one for one in drivers})


def delayed(x: dict[str, np.ndarray], _: int) -> np.ndarray:
    return 2 * np.concatenate((np.zeros(DELAY), x[DRIVES][:-DELAY]))


PAST = WindowParams(2, {"y": FeatureWindow(4), **dict.fromkeys(NAMES, FeatureWindow(12))})


@pytest.fixture(scope="module")
def ridge(tmp_path_factory: pytest.TempPathFactory) -> Explained:
    return explained(tmp_path_factory.mktemp("ridge"), frame(delayed), PAST)


def alone(drivers: dict[str, Driver], name: str) -> None:
    """One covariate is far above its spread, and every other is within its own of zero.

    Not the past of y, which holds what drove it: a little of it is used in place of that.
    """
    first, *others = (one for one in drivers.values() if one.role is not Role.OWN)
    assert first.name == name and first.effect.spread is not None and first.effect.share > 3 * first.effect.spread
    for one in others:
        assert one.effect.spread is not None and abs(one.effect.share) <= one.effect.spread, one


def test_the_one_of_six_covariates_that_drives_y_is_found_with_its_delay(ridge: Explained) -> None:
    alone(ridge.drivers, DRIVES)
    driver = ridge.drivers[DRIVES]
    assert driver.role is Role.PAST and driver.effect.share > 2
    by_step = {(one.first, one.last): one.effect.by_step for one in driver.lags}
    # step 1 is driven by the row 5 before it, step 2 by the row 4 before step 1; a little is learnt by way of the past of y
    assert by_step[5, 6][0] > 4 and by_step[4, 4][1] > 4
    rest = [abs(share) for lags, shares in by_step.items() for step, share in enumerate(shares) if (lags, step) not in DRIVING]
    assert max(rest) < 0.15


def test_integrated_gradients_point_to_the_same_lags(ridge: Explained) -> None:
    shares = gradients_of(ridge.model, PAST, ridge.windows.inputs(ridge.windows.origins[:64]))
    assert shares is not None
    of = {(name, lag): share for name, row in zip(shares.names, shares.shares, strict=True) for lag, share in enumerate(row, 1)}
    first, second, third, *_ = sorted(of, key=lambda place: -(of[place] or 0))
    assert {first, second} == {(DRIVES, 4), (DRIVES, 5)} and (of[second] or 0) > 5 * (of[third] or 0)


@pytest.mark.slow
def test_a_network_too(tmp_path: Path) -> None:
    found = explained(tmp_path, frame(delayed), PAST, "dense", {"hidden_size": 16})
    first = next(iter(found.drivers.values()))
    assert first.name == DRIVES and first.effect.share > 1
    assert {(one.first, one.last) for one in first.lags if one.effect.share > 0.2} == {(4, 4), (5, 6)}


def test_a_covariate_known_ahead_is_found(tmp_path: Path) -> None:
    params = WindowParams(2, {"a": FeatureWindow(4), DRIVES: FeatureWindow(4)}, future=("b", DRIVES))
    found = explained(tmp_path, frame(lambda x, _: 2 * x[DRIVES]), params)
    alone(found.drivers, DRIVES)
    assert found.drivers[DRIVES].role is Role.BOTH and found.drivers["b"].role is Role.AHEAD
    assert all(abs(one.effect.share) < 0.02 for one in found.drivers[DRIVES].lags)  # all of it lies ahead


def test_a_static_covariate_that_sets_the_level_is_found(tmp_path: Path) -> None:
    levels = {"size": [0.0, 3.0, 9.0, 4.0], "other": [1.0, 2.0, 2.0, 1.0]}
    params = WindowParams(2, {"a": FeatureWindow(3)}, static=dict.fromkeys(levels, "numeric"))
    found = explained(tmp_path, frame(lambda x, number: 0 * x["a"] + levels["size"][number], 4, **levels), params)
    first, second = list(found.drivers.values())[:2]
    assert first.name == "size" and first.role is Role.STATIC and first.effect.share > 5
    noise = found.drivers["a"].effect
    assert noise.spread is not None and abs(noise.share) <= noise.spread
    assert second.effect.share < first.effect.share / 10


def test_the_same_seed_gives_the_same_bits_and_changes_no_input(ridge: Explained) -> None:
    before = [part.clone() for part in ridge.windows.inputs(ridge.windows.origins)]
    again = measured(ridge.job, ridge.model, ridge.windows)
    assert again.drivers == measured(ridge.job, ridge.model, ridge.windows).drivers
    for part, other in zip(before, ridge.windows.inputs(ridge.windows.origins), strict=True):
        assert torch.equal(part.nan_to_num(), other.nan_to_num())
