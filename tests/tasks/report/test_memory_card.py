"""Memory cards as a table and as pictures: what is drawn is what the cards hold."""

import io

import numpy as np
import pytest

from models.memory_card import MemoryCard
from tasks.report.memory_card import attention_figure, card_figure, card_table

LONG = MemoryCard([1.0] * 12, 6, 12, 12, None, {"a": 0.5, "b": 1.1}, {"forget": {"mean": 0.9, "saturated": 0.4}})
SHORT = MemoryCard([8.0, 2.0] + [0.0] * 10, 1, 2, 12, 2, attention=[[0.25, 0.75], [0.5, 0.5]])


def test_the_table_has_a_row_a_variant() -> None:
    rows = card_table({"long": LONG, "short": SHORT}).to_dicts()
    assert rows[0] == {
        "variant": "long", "memory_half_life": 6, "receptive_field": 12, "theoretical_field": None, "window_rows": 12,
        "spectral_radius": 1.1, "saturated_share": 0.4, "forget_mean": 0.9, "warning": "",
    }  # fmt: skip
    assert rows[1]["spectral_radius"] is None and rows[1]["theoretical_field"] == 2
    assert rows[1]["warning"] == "rows 3 to 12 before the cutoff move the forecast by less than 1 %"


def test_the_columns_of_the_table_have_their_types_whatever_is_missing() -> None:
    bare = MemoryCard([1.0] * 12, 6, 12, 12)
    assert card_table({"bare": bare}).schema == card_table({"long": LONG, "short": SHORT}).schema


def test_a_network_that_no_row_moves_has_no_half_life_to_mark() -> None:
    (axes,) = card_figure({"flat": MemoryCard([0.0] * 12, 0, 0, 12)}).axes
    assert len(axes.lines) == 1 and "no row" in axes.get_title(loc="left")


@pytest.mark.parametrize("count", [1, 4, 9])
def test_every_card_is_drawn_on_one_scale_with_its_half_life(count: int) -> None:
    cards = {f"v{number}": (LONG, SHORT)[number % 2] for number in range(count)}
    figure = card_figure(cards)
    drawn = [axes for axes in figure.axes if axes.get_title(loc="left")]
    assert [axes.get_title(loc="left").split()[0] for axes in drawn] == list(cards)
    for axes, card in zip(drawn, cards.values(), strict=True):
        curve, mark = axes.lines
        share = np.array(card.sensitivity) / max(card.sensitivity)
        np.testing.assert_allclose(curve.get_ydata(), np.clip(share, 1e-5, None))
        assert mark.get_xdata()[0] == card.half_life
        assert [patch.get_x() for patch in axes.patches] == ([card.unused_from] if card.unused_from else [])
    figure.savefig(io.BytesIO(), format="png")


def test_attention_is_drawn_with_the_newest_sample_on_the_right() -> None:
    figure = attention_figure(SHORT, "short")
    image = figure.axes[0].images[0]
    np.testing.assert_array_equal(image.get_array(), SHORT.attention)
    assert image.get_extent() == [-1.5, 0.5, 2.5, 0.5]
    with pytest.raises(ValueError, match="no attention"):
        attention_figure(LONG, "long")
