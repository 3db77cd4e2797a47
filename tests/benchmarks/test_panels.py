"""benchmarks/_panels.py: the rule that thins, the files of the panels, and generated tables, by hand."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from benchmarks import _panels
from benchmarks._panels import HELD_OUT, KINDS, PANELS, SHIPPED, SOURCES, file_of, generated, mase, read, thinned


def panel(**lengths: int) -> pl.DataFrame:
    """Series whose y is its place, the newest row first."""
    parts = [pl.DataFrame({"unique_id": name, "ds": range(n), "y": np.arange(float(n))}) for name, n in lengths.items()]
    return pl.concat(parts).reverse()


def test_a_small_panel_is_only_put_in_order_and_the_first_of_two_rows_of_a_time_is_kept() -> None:
    twice = pl.concat([panel(b=2, a=3), pl.DataFrame({"unique_id": "a", "ds": [1], "y": [99.0]})])
    assert thinned(twice, most=5).rows() == [("a", 0, 0.0), ("a", 1, 1.0), ("a", 2, 2.0), ("b", 0, 0.0), ("b", 1, 1.0)]


def test_of_few_series_the_newest_rows_stay_the_same_number_of_each() -> None:
    left = thinned(panel(a=10, b=2, c=6), most=11, many=3)  # 18 rows: 11 // 3 of each
    assert left.rows() == [
        ("a", 7, 7.0),
        ("a", 8, 8.0),
        ("a", 9, 9.0),
        ("b", 0, 0.0),
        ("b", 1, 1.0),
        *[("c", n, n) for n in (3, 4, 5)],
    ]


def test_of_many_series_every_kth_by_name_stays_whole_with_the_smallest_k_that_does_it() -> None:
    lengths = {"a": 1, "b": 9, "c": 9, "d": 1, "e": 9, "f": 9, "g": 1}
    # 39 rows: every 2nd (a, c, e, g) has 20, every 3rd (a, d, g) 3; by the mean length alone a k of 2 would do for 19
    for most, names in ((20, "aceg"), (19, "adg"), (2, "ag")):
        left = thinned(panel(**lengths), most=most, many=6)
        assert left["unique_id"].unique(maintain_order=True).to_list() == [*names]
        assert left.height == sum(lengths[name] for name in names)


def test_a_file_is_found_by_its_own_name_or_by_that_of_the_panel(tmp_path: Path) -> None:
    assert file_of("etth1", tmp_path) is None and file_of("etth1", None) is None and file_of("nyc", None) == SHIPPED
    plain, own = tmp_path / "etth1.parquet", tmp_path / SOURCES["etth1"].file
    plain.touch()
    assert file_of("etth1", tmp_path) == plain
    own.touch()
    assert file_of("etth1", tmp_path) == own
    assert len(PANELS) == 9 and set(HELD_OUT) == {"bike", "beijing"}


def test_a_panel_is_its_own_rows_and_has_covariates_only_where_they_belong_to_it(tmp_path: Path) -> None:
    frame = panel(a=2, b=2).with_columns(period=pl.Series(["MONTHLY", "YEARLY", "MONTHLY", "YEARLY"]), x=pl.lit("n"))
    file = tmp_path / "m.parquet"
    frame.with_columns(pl.col("unique_id", "period", "x").cast(pl.Categorical)).write_parquet(file)
    assert read("m1_monthly", file).rows() == [("a", 1, 1.0), ("b", 1, 1.0)]
    assert read("m1_monthly", file).schema == {"unique_id": pl.String, "ds": pl.Int64, "y": pl.Float64}
    bike = read("bike", file)
    assert bike.columns == ["unique_id", "ds", "y", "period", "x"] and bike.schema["x"] == pl.String and bike.height == 4
    assert read("nyc", SHIPPED).equals(pl.read_parquet(SHIPPED))


@pytest.mark.parametrize("name", KINDS)
def test_a_generated_table_is_the_same_for_a_seed_and_its_rows_ahead_follow_it(name: str) -> None:
    frame, ahead = generated(name, 5)
    again, _ = generated(name, 5)
    other, _ = generated(name, 6)
    assert frame.equals(again) and not frame["y"].equals(other["y"])
    kind, series = KINDS[name], {"monthly": 200, "retail": 50, "energy": 3}[name]
    assert frame["unique_id"].n_unique() == series and ahead.height == series * kind.ahead
    whole = pl.concat([frame, ahead]).sort("unique_id", "ds")
    step = {"monthly": "1mo", "retail": "1d", "energy": "15m"}[name]
    on_grid = whole.select((pl.col("ds").shift(-1).over("unique_id") == pl.col("ds").dt.offset_by(step)).all()).item()
    ends = (
        frame.group_by("unique_id")
        .agg(pl.col("ds").max())
        .join(ahead.group_by("unique_id").agg(pl.col("ds").min()), on="unique_id")
    )
    assert on_grid and (ends["ds"] < ends["ds_right"]).all() and ends["ds"].n_unique() == 1
    assert frame["y"].is_finite().all() and (frame["y"] >= 0).all()


def test_generated_tables_have_what_their_kind_says() -> None:
    lengths = generated("monthly", 1)[0].group_by("unique_id").len()["len"]
    assert lengths.min() >= 36 and lengths.max() <= 84 and lengths.n_unique() > 20  # type: ignore[operator]
    retail = generated("retail", 1)[0]
    assert retail.schema["y"].is_integer() and 0.02 < (retail["y"] == 0).mean() < 0.4  # type: ignore[operator]
    energy = generated("energy", 1)[0].filter(pl.col("unique_id") == "e000")["y"].head(16 * 672).to_numpy().reshape(-1, 7, 96)
    assert energy[:, 5:].mean() < 0.95 * energy[:, :5].mean()  # the weekend


def test_mase_is_a_mean_over_series_in_their_own_steps() -> None:
    history = pl.DataFrame(
        {"unique_id": [*"aaaabbbbcccc"], "ds": [*range(4)] * 3, "y": [1.0, 5, 3, 9, 0, 0, 10, 20, 7, 7, 7, 7]}
    )
    actual = pl.DataFrame(
        {"unique_id": [*"aabbc"], "ds": [4, 5, 4, 5, 4], "y": [4.0, 4, 1, None, 1], "ours": [1.0, 10, 4, 0, 3]}
    )
    # two rows apart a changes by 2 and 4, b by 10 and 20, c never; the errors are 3 and 6, and 3
    assert mase(history, actual, "ours", 2) == pytest.approx((4.5 / 3 + 3 / 15) / 2)
    assert mase(history.filter(pl.col("unique_id") == "c"), actual, "ours", 2) is None


def test_the_shipped_panel_lies_in_this_repository() -> None:
    assert SHIPPED.is_file() and SHIPPED.is_relative_to(Path(_panels.__file__).parents[1])
