"""What drives the forecast, as the report, the card's rows, the table and MLflow say it."""

import pytest

from tasks.evaluate.gradients import Gradients
from tasks.evaluate.importance import Driver, Effect, Importance, LagEffect
from tasks.evaluate.permute import Role
from tasks.report.importance import how_measured, metrics_of, pictures_of, rows_of, section, table_of


def effect(share: float, spread: float | None = 0.02) -> Effect:
    return Effect(share, spread, (share, share / 2))


LAGS = (LagEffect(1, 1, effect(0.01)), LagEffect(2, 4, effect(0.7)))
FOUND = Importance(
    model="gru", windows=1000, draws=2, slot=24, over="origins",
    drivers=(
        Driver("y", Role.OWN, effect(1.5), LAGS),
        Driver("<b>$x|", Role.BOTH, effect(0.044), (LagEffect(1, 1, effect(0.01)),)),
        Driver("size", Role.STATIC, effect(-0.01, None)),
    ),
    gradients=Gradients(("y", "<b>$x|"), 0, ((None, 0.1, 0.6), (0.2, 0.1, None))),
)  # fmt: skip


def test_the_section_has_a_row_for_each_covariate_with_its_spread_and_strongest_lags() -> None:
    text = section(FOUND, "sales", ()).body
    row = '<td>sales</td><td>own past</td><td class="n">150 %</td><td class="n">2.0 %</td><td class="n">2 to 4</td>'
    assert row in text.replace(' class=""', "")
    assert "&lt;b&gt;$x|" in text and "<b>$x" not in text
    assert rows_of(FOUND, "sales", 9)[2] == ("size", "static", "-1.0 %", "", "")
    assert len(rows_of(FOUND, "sales", 1)) == 1
    words = how_measured(FOUND)
    assert "of gru" in words and "24 rows" in words and "1,000 windows, 2 times each" in words
    assert not section(None, "sales", ()).body


def test_the_table_has_every_effect_by_lags_and_step() -> None:
    table = table_of(FOUND, "sales")
    assert table.height == 3 * (1 + 2 + 1 + 1 + 1)
    row = table.filter(covariate="sales", first_lag=2, step=2).row(0, named=True)
    assert row["importance"] == pytest.approx(0.35) and row["spread"] is None and row["last_lag"] == 4


def test_metrics_have_names_that_mlflow_allows() -> None:
    assert metrics_of(FOUND, "sales") == {"importance_sales": 1.5, "importance__b__x_": 0.044, "importance_size": -0.01}


def test_pictures_are_drawn_of_what_there_is() -> None:
    drawn = {name: (desk, phone) for name, desk, phone in pictures_of(FOUND, "sales")}
    assert list(drawn) == ["importance.png", "importance_by_lag.png", "gradients.png"]
    bars = drawn["importance.png"][0].axes[0]
    assert [one.get_text() for one in bars.get_yticklabels()] == ["sales", r"<b>\$x|", "size"]
    assert [round(bar.get_width()) for bar in bars.patches] == [150, 4, -1]
    for desk, phone in drawn.values():
        assert desk.get_size_inches()[0] > 2 * phone.get_size_inches()[0]
    assert list(pictures_of(None, "sales")) == []
