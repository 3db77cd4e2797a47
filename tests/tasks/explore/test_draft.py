"""The run file that `init` drafts: each decision follows a rule on the table, and the file passes the checks."""

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from params.errors import UserError
from params.load import load_run
from tasks.explore.asked import Asked
from tests.marks import CHECKS
from tests.tasks.explore.test_look import NOISE, days, look, moments, wave

pytestmark = CHECKS


def shops(count: int = 6, rows: int = 200, **columns: Any) -> pl.DataFrame:
    """Daily sales of some shops, whole numbers, in sizes from 1 to 1,000."""
    parts = []
    for i in range(count):
        size = 10 ** (3 * i / max(count - 1, 1))
        parts.append(
            pl.DataFrame(
                {
                    "shop": [f"s{i}"] * rows,
                    "day": days(rows),
                    "price": 5 + 0.1 * NOISE[:rows],
                    "sales": (size * (10 + np.array(wave(rows, 7)) / 50)).round(),
                }
            ).with_columns(**{name: pl.Series(make(i, rows)) for name, make in columns.items()})
        )
    return pl.concat(parts)


def test_what_is_constant_for_a_series_is_static_and_what_may_be_known_ahead_is_offered(tmp_path: Path) -> None:
    frame = shops(
        kind=lambda i, n: ["AB"[i % 2]] * n,
        floor=lambda i, n: [100.5 + i] * n,
        shop_name=lambda i, n: [f"Shop number {i}"] * n,
        onpromotion=lambda i, n: [int((k + i) % 5 == 0) for k in range(n)],
    )
    found = look(tmp_path, frame)
    roles = found.draft.roles
    assert roles.static == {"kind": "categorical", "floor": "numeric"}, "the shop's name is its id again"
    assert roles.ahead == ("price", "onpromotion") and roles.target == "sales"
    text = (tmp_path / "run.yaml").read_text().replace("  # future: ", "  future: ")
    (tmp_path / "run.yaml").write_text(text)
    assert load_run(tmp_path / "run.yaml").windows.future == ("price", "onpromotion")
    assert dict(found.facts())["known ahead?"].startswith("price, onpromotion")


def test_series_that_differ_in_size_are_measured_alike(tmp_path: Path) -> None:
    text = look(tmp_path, shops()).text
    for line in ("  target: log1p", "  choose_by: mase", "  monitor: loss", "  lowest: 0", "  integer: true", "  per: global"):
        assert f"\n{line}" in text
    alike = look(tmp_path, shops().with_columns(sales=pl.Series(100 + NOISE[:1200] * 20 - 150))).text
    for word in ("log1p", "choose_by", "lowest", "integer", "global"):
        assert f" {word}" not in alike


def test_one_skewed_series_is_forecast_in_logarithms(tmp_path: Path) -> None:
    found = look(tmp_path, pl.DataFrame({"day": days(300), "load": np.exp(1.5 * NOISE[:300])}))
    assert found.draft.nature.skew > 1 and "\n  target: log1p" in found.text and "choose_by" not in found.text


@pytest.mark.parametrize(
    ("every", "rows", "season"), [("1h", 900, 24), ("1d", 400, 7), ("1mo", 120, 12), ("15m", 1500, 96), ("5m", 4000, 288)]
)
def test_a_window_holds_a_season_and_strides_meet_all_its_phases(tmp_path: Path, every: str, rows: int, season: int) -> None:
    frame = pl.DataFrame({"when": moments(rows, every), "load": wave(rows, season)})
    sizes = look(tmp_path, frame, "x.parquet").draft.sizes
    assert sizes.season == season and sizes.reach >= season - sizes.rate
    assert sizes.lookback <= 192 and season % sizes.rate == 0
    assert math.gcd(sizes.stride, season) == math.gcd(sizes.evaluation_stride, season) == 1


def test_a_season_that_noise_hides_in_each_series_shows_in_their_mean(tmp_path: Path) -> None:
    """Small counts with a weekly wave: half of 12 series do not show it, and three of them have no mean to ask."""
    rng = np.random.default_rng(4)
    lam = 1.0 + 0.45 * np.sin(np.arange(240) * 2 * np.pi / 7)
    series = [pl.DataFrame({"id": [f"s{i}"] * 240, "day": days(240), "units": rng.poisson(lam)}) for i in range(12)]
    assert look(tmp_path, pl.concat(series)).draft.seasons.keys() == {7}
    still = [one.with_columns(units=pl.Series(rng.poisson(1.0, 240))) for one in series]
    assert not look(tmp_path, pl.concat(still)).draft.seasons


@pytest.mark.parametrize(("rows", "found"), [(24 * 310, "hour, weekday, yearday"), (24 * 290, "hour, weekday")])
def test_hours_of_nearly_a_year_show_the_time_of_the_year(tmp_path: Path, rows: int, found: str) -> None:
    frame = pl.DataFrame({"when": moments(rows, "1h"), "load": np.resize(wave(2400, 24), rows)})
    assert f"\n  calendar: [{found}]" in look(tmp_path, frame, "x.parquet").text


def test_networks_stand_beside_a_ridge_regression_and_windows_of_many_series_are_measured_against_themselves(
    tmp_path: Path,
) -> None:
    text = look(tmp_path, shops(12, size=lambda i, n: [1.0] * n)).text
    run = load_run(tmp_path / "run.yaml")
    assert run.network == {"skip": "ridge"} and run.training.average_epochs == 1
    assert "\n  per: global" in text and run.scaling.window == "revin"
    one = look(tmp_path, pl.DataFrame({"day": days(300), "load": wave(300, 7)})).text
    run = load_run(tmp_path / "run.yaml")
    assert "per: global" not in one and run.scaling.window == "last" and run.network == {"skip": "ridge"}
    look(tmp_path, pl.DataFrame({"when": moments(1500, "15m"), "load": wave(1500, 96)}), "x.parquet")
    assert load_run(tmp_path / "run.yaml").scaling.window == "mean"


def test_short_series_are_padded_and_keep_a_season(tmp_path: Path) -> None:
    parts = [
        pl.DataFrame({"id": [f"m{i}"] * n, "month": moments(n, "1mo"), "units": wave(n, 12, 3.0)})
        for i, n in enumerate([48, 60, 75, 90, 100, 120])
    ]
    sizes = look(tmp_path, pl.concat(parts), "x.parquet").draft.sizes
    assert sizes.season == 12 and sizes.reach >= 24 and 0 < sizes.padding < sizes.reach - 3
    assert sizes.windows([48]) > 0, "the shortest gives windows, too"


def test_a_large_table_is_thinned_and_the_file_says_so(tmp_path: Path) -> None:
    rows = 30_000
    frame = pl.DataFrame({"when": moments(rows, "1h"), "load": wave(3000, 24) * 10})
    small = look(tmp_path, frame.head(1000), "x.parquet").draft.pace
    found = look(tmp_path, frame, "x.parquet")
    pace, sizes = found.draft.pace, found.draft.sizes
    assert pace.seconds <= 600 and small.seconds < pace.seconds
    assert (small.epochs, small.batch) == (30, 16) and pace.epochs < 30 and pace.batch == 256
    assert re.search(r"# A comparison takes about \d+ minutes at most on two cores, therefore .*\d+ epochs", found.text)
    assert sizes.origins(found.draft.grid.lengths) <= 10_000


def test_every_key_stands_on_a_line_of_its_own(tmp_path: Path) -> None:
    text = look(tmp_path, shops()).text
    for line in (r"  frequency: 1d", r"  horizon: \d+.*", r"  validation: \S+", r"  test: \S+", r"      lookback: \d+.*"):
        assert re.search(f"^{line}$", text, re.MULTILINE), line
    for line in (r"  max_epochs: \d+", r"  season: 7.*", r"variants: \[.*\]"):
        assert re.search(f"^{line}$", text, re.MULTILINE), line


def test_what_was_asked_for_is_taken(tmp_path: Path) -> None:
    frame = shops(region=lambda i, n: [i % 2] * n, event=lambda i, n: [k % 9 for k in range(n)])
    asked = Asked(target="price", ids=("shop",), times=("day",), horizon="3", future=("event",), static=("region",))
    found = look(tmp_path, frame, asked=asked)
    roles = found.draft.roles
    assert (roles.target, roles.future, roles.static) == ("price", ("event",), {"region": "numeric"})
    assert roles.why == "as you asked" and found.draft.sizes.horizon == 3
    run = load_run(tmp_path / "run.yaml")
    assert run.windows.future == ("event",) and "sales" in run.windows.features and run.data.target == "price"
    assert look(tmp_path, frame, asked=Asked(horizon="2w")).draft.sizes.horizon == 14
    assert look(tmp_path, frame, asked=Asked(static=("region",), future=("event,price",))).draft.roles.future == (
        "event",
        "price",
    )


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (Asked(target="sale"), "--target sale: there is no column 'sale'; columns found: .*; did you mean 'sales'"),
        (Asked(ids=("shop", "shop")), "--id twice: the column 'shop'"),
        (Asked(target="sales", future=("sales",)), "--target and --future: the column 'sales'"),
        (Asked(static=("price",)), "--static price: this column changes within a series"),
        (Asked(target="shop"), "--target shop: this column holds no numbers"),
        (Asked(horizon="0"), "--horizon 0: write a number of steps from 1"),
        (Asked(horizon="90"), "too short for --horizon 90: .* ask for 49 steps at most"),
        (Asked(horizon="5h"), "5h is not a whole number of steps of 1d"),
        (Asked(ids=("price",)), "rows repeat a time .*'price'"),
    ],
)
def test_what_cannot_be_is_said(tmp_path: Path, asked: Asked, message: str) -> None:
    with pytest.raises(UserError, match=message):
        look(tmp_path, shops(3), asked=asked)
