"""Forecasts as a page and as a picture: nothing is loaded, no name breaks out of its place, and what was asked for is drawn."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from params.errors import UserError
from tasks.registry.load import Version
from tasks.report.plots.outlook import _draw, outlook_of
from tasks.report.plots.style import new_figure
from tasks.serve.forecast import Asked, Forecasts, forecast
from tasks.serve.plot import SHOWN, chosen_series, draw

EVIL = "<script>alert(1)</script> & \" ' $x^2$ \x1b[31m"
pytestmark = pytest.mark.filterwarnings("ignore:Series.values returning an ndarray")  # polars, of a frame of pandas


@pytest.fixture
def found(version: Version, table: pl.DataFrame, tmp_path: Path) -> Callable[..., Forecasts]:
    """`found(names, start=...)`: forecasts of copies of a series by these names."""

    def make(names: list[str], **asked: Any) -> Forecasts:
        rows = table.filter(series="LGA")
        copies = [rows.with_columns(series=pl.lit(name), temp=pl.col("temp") * at) for at, name in enumerate(names, start=1)]
        pl.concat(copies).write_parquet(tmp_path / "x.parquet")
        return forecast(version, tmp_path / "x.parquet", Asked(plot=tmp_path / "plot.html", **asked))

    return make


def test_a_page_stands_alone_and_escapes_every_name(found: Callable[..., Forecasts], version: Version, tmp_path: Path) -> None:
    which = draw(found(["a", EVIL]), version, tmp_path / "x.html")
    text = (tmp_path / "x.html").read_text()
    assert which == "all series" and "<script" not in text and "&lt;script&gt;alert(1)" in text and "\x1b" not in text
    assert not re.search(r"(src|href|srcset)=\"(?!data:image/png;base64,|#)", text) and "default-src 'none'" in text
    assert text.count("<figure>") == text.count("max-width: 600px") == 2 and 'name="viewport"' in text
    assert (
        text.count("<td>2024-01-0") == 2 * version.facts.windows.horizon
    )  # each forecast in numbers, as the table says its times


def test_a_picture_has_a_part_for_each_series(found: Callable[..., Forecasts], version: Version, tmp_path: Path) -> None:
    sizes = {}
    for count in (1, 3):
        draw(found(["a", "b", "c"]), version, tmp_path / "x.png", ",".join("abc"[:count]))
        content = (tmp_path / "x.png").read_bytes()
        assert content.startswith(b"\x89PNG")
        sizes[count] = int.from_bytes(content[20:24])
    assert sizes[3] > 2 * sizes[1]


def test_which_series_are_drawn_is_said(found: Callable[..., Forecasts]) -> None:
    many = found([f"s{number}" for number in range(9)])
    largest, which = chosen_series(many.made, many.history, None)
    assert largest == [f"s{number}" for number in range(8, 8 - SHOWN, -1)] and which.startswith("the 6 largest of 9 series")
    assert chosen_series(many.made, many.history, " s1, s0,s1")[0] == ["s1", "s0"]
    comma = found(["a,b", "c"])
    assert chosen_series(comma.made, comma.history, "a,b")[0] == ["a,b"]
    for names, told in (
        ("s1,S8", "no forecast is of 'S8'; did you mean 's8'"),
        ("xyz", "no forecast is of 'xyz'; there are 9 series, such as 's0'"),
        (",", "name 1 to"),
    ):
        with pytest.raises(UserError, match=f"--series: {told}"):
            chosen_series(many.made, many.history, names)


def test_several_cutoffs_are_drawn_apart_with_what_came(
    found: Callable[..., Forecasts], version: Version, tmp_path: Path
) -> None:
    many = found(["a"], start="2024-01-06")
    one = outlook_of("a", many.history, many.made, 10)
    spans = one.forecasts.group_by("cutoff").agg(first=pl.col("ds").min(), last=pl.col("ds").max()).sort("cutoff")
    assert spans.height > 5 and (spans["last"].head(-1) < spans["first"].slice(1)).all()
    assert spans["cutoff"].max() == many.made["cutoff"].max()
    first = one.known["ds"].min()
    assert one.known.filter(pl.col("ds") <= spans["cutoff"].min()).height == 10 and first < spans["cutoff"].min()
    assert one.known["ds"].max() == many.history["ds"].max()  # what came, as far as it is known
    draw(many, version, tmp_path / "x.html")
    assert "those that do not overlap" in (tmp_path / "x.html").read_text()


@pytest.mark.parametrize("rows", [1, 4])
def test_each_interval_has_a_band_the_narrower_inside_the_wider(
    found: Callable[..., Forecasts], version: Version, tmp_path: Path, rows: int
) -> None:
    made = found(["a"], levels=(80, 90, 85), quantiles=(0.5,))
    one = outlook_of("a", made.history, made.made.head(rows), 10)
    assert one.levels == ["90", "85", "80"]
    _, ax = new_figure(6, 4)
    _draw(ax, one, "", 5)
    drawn = {str(band.get_label()): band for band in ax.collections}
    names = ["90, 85, 80 % intervals", "_85", "_80"]
    bands = {name: drawn[name].get_paths()[0].get_extents() for name in names}
    heights = [box.height for box in bands.values()]
    assert heights[0] > heights[1] > heights[2] > 0
    wide = made.made.head(rows).drop_nulls("yhat-hi-90")
    assert np.isclose(next(iter(bands.values())).y1, wide["yhat-hi-90"].max())
    draw(made, version, tmp_path / "x.html")
    text = (tmp_path / "x.html").read_text()
    assert "forecast and 90 %, 85 % and 80 % intervals of a." in text
    heads = re.findall(r"<th scope=.col.[^>]*>([^<]*)</th>", text)
    ends = [f"{side}, {level} %" for level in (80, 90, 85) for side in ("low", "high")]
    assert heads == ["time", "forecast", *ends, "quantile 0.5"]
    none = found(["a"], levels=())
    draw(none, version, tmp_path / "y.html")
    assert "Actual values and forecast of a." in (tmp_path / "y.html").read_text()
