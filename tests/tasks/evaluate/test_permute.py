"""Partners and exchanges: whose window is read, and that nothing else of it changes."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from models.data.panel import Panel, PanelFacts
from models.data.window import FeatureWindow, WindowParams
from models.data.windows import Windows
from tasks.evaluate.permute import Covariate, Exchanged, Lags, Role, covariates_of, groups_of, lags_of, partners_of, slot_rows

PARAMS = WindowParams(
    3, {"y": FeatureWindow(6), "x": FeatureWindow(3, 2, 1), "z": FeatureWindow(2)},
    gap=1, calendar=("hour", "holiday"), future=("x", "w"), static={"size": "numeric", "kind": "categorical"}, wide=("y", "x"),
)  # fmt: skip
ROWS, SERIES, SLOT = 200, 3, 12


def panel() -> Panel:
    """Every cell is unlike every other, also in 32 bits."""
    rows, width = ROWS * SERIES, len(PARAMS.panel_channels)
    values = np.arange(rows * width, dtype=np.float32).reshape(rows, width)
    wide = np.arange(rows * 3, dtype=np.float64).reshape(rows, 3) + 0.5
    facts = PanelFacts(frequency="1h", static=("size", "kind"), wide=PARAMS.wide_channels)
    offsets = ROWS * np.arange(SERIES + 1)
    times, target = np.tile(np.arange(ROWS), SERIES), values[:, 0].astype(np.float64)
    statics = np.arange(2.0 * SERIES).reshape(SERIES, 2)
    return Panel(target, values, offsets, times, ("a", "b", "c"), PARAMS.panel_channels, "none", facts, statics, wide)


def windows(first: int = 100) -> Windows:
    """The windows of each series from a row on."""
    rows = np.concatenate([np.arange(first, ROWS - PARAMS.ahead) + ROWS * number for number in range(SERIES)])
    return Windows(panel(), PARAMS, rows)


def test_a_partner_is_in_the_same_series_and_slot_and_reads_no_row_of_the_window() -> None:
    every = windows()
    partners = partners_of(every, SLOT, 60, 3)
    own = partners.windows.origins.numpy()
    assert len(own) == 60 and (np.diff(own) > 0).all() and np.isin(own, every.origins).all()
    for other in partners.own:
        assert (other // ROWS == own // ROWS).all() and ((other - own) % SLOT == 0).all()
        assert (np.abs(other - own) >= PARAMS.reach + PARAMS.ahead).all() and np.isin(other, every.origins).all()
    assert len({tuple(other) for other in partners.own}) == 3
    for other in partners.others:
        assert (other // ROWS != own // ROWS).all()
    again, another = partners_of(every, SLOT, 60, 3), partners_of(every, SLOT, 60, 3, seed=1)
    assert np.array_equal(again.own, partners.own) and not np.array_equal(another.own, partners.own)


def test_where_the_test_range_is_too_short_partners_come_from_before_it() -> None:
    short = windows(ROWS - PARAMS.ahead - 2)  # two origins of each series
    partners = partners_of(short, SLOT, 100, 2)
    own = partners.windows.origins.numpy()
    assert len(own) == 6
    for other in partners.own:
        assert (other // ROWS == own // ROWS).all() and ((other - own) % SLOT == 0).all()
        assert (other % ROWS >= PARAMS.reach).all() and (own - other >= PARAMS.reach + PARAMS.ahead).all()
    assert len(partners_of(short, 10 * ROWS, 100, 2).windows) == 0  # no row shares the slot


@pytest.mark.parametrize(
    ("covariate", "lags", "expected"),
    [
        (Covariate("y", Role.OWN), None, {"past": [0], "wide": [0]}),
        (Covariate("x", Role.BOTH), None, {"past": [1], "wide": [1], "ahead": [3], "wide_ahead": [0]}),
        (Covariate("x", Role.BOTH), Lags(1, 2), {"past": [1], "wide": [1]}),
        (Covariate("z", Role.PAST), None, {"past": [2]}),
        (Covariate("w", Role.AHEAD), None, {"ahead": [4]}),
        (Covariate("holiday", Role.BOTH), None, {"past": [5], "ahead": [2]}),
        (Covariate("size", Role.STATIC), None, {"static": [0]}),
        (Covariate("kind", Role.STATIC), None, {"static": [1]}),
    ],
)
def test_only_what_a_model_reads_of_the_covariate_is_exchanged(
    covariate: Covariate, lags: Lags | None, expected: dict[str, list[int]]
) -> None:
    partners = partners_of(windows(), SLOT, 20, 1)
    other = partners.others[0] if covariate.role is Role.STATIC else partners.own[0]
    made = Exchanged(partners.windows, other, covariate, lags)
    before, theirs = (partners.windows.inputs(torch.from_numpy(rows)) for rows in (partners.windows.origins.numpy(), other))
    after = made.inputs(made.origins)
    names = {"past": 0, "ahead": 1, "static": 2, "wide": 4, "wide_ahead": 5}
    assert torch.equal(after.series_B, before.series_B)
    for name, place in names.items():
        for column in range(before[place].shape[-1]):
            own, partner, found = (part[place][..., column].nan_to_num(-1.0) for part in (before, theirs, after))
            if column not in expected.get(name, []):
                assert torch.equal(found, own)
            elif lags is None:
                assert torch.equal(found, partner) and not torch.equal(found, own)
            else:  # samples 1 and 2 of three, of which the newest stands last
                assert torch.equal(found[:, -3:-1], partner[:, -3:-1]) and torch.equal(found[:, -1], own[:, -1])
    some = made.inputs(made.origins[5:9])
    assert all(torch.equal(one.nan_to_num(), all_[5:9].nan_to_num()) for one, all_ in zip(some, after, strict=True))


def test_every_covariate_is_listed_once_and_the_calendar_is_not() -> None:
    roles = {one.name: one.role for one in covariates_of(PARAMS, SERIES)}
    assert roles == {"y": Role.OWN, "x": Role.BOTH, "z": Role.PAST, "w": Role.AHEAD, "holiday": Role.BOTH} | dict.fromkeys(
        ("size", "kind"), Role.STATIC
    )
    assert not any(one.role is Role.STATIC for one in covariates_of(PARAMS, 1))


@pytest.mark.parametrize("lookback", [1, 2, 12, 72, 1000])
def test_blocks_of_lags_make_up_the_window_and_are_narrow_near_the_cutoff(lookback: int) -> None:
    blocks = lags_of(FeatureWindow(lookback))
    assert [one.newest for one in blocks] == [0, *(one.oldest + 1 for one in blocks[:-1])]
    sizes = [one.oldest - one.newest + 1 for one in blocks]
    assert sum(sizes) == lookback and sizes == sorted(sizes) and len(blocks) <= 8 and sizes[0] == 1
    assert Lags(1, 2).rows(FeatureWindow(3, 2, 1), 1) == (5, 7)  # step 1 is row 2, the newest sample row -1


def test_a_slot_is_a_season_and_a_week_where_the_calendar_has_the_weekday() -> None:
    week = WindowParams(1, {"y": FeatureWindow(2)}, calendar=("weekday",))
    assert slot_rows(panel(), PARAMS, 24) == 24 and slot_rows(panel(), week, 24) == 168


def test_blocks_are_of_origins_or_of_series_where_origins_are_few() -> None:
    groups, over = groups_of(windows(), 8)
    assert over == "origins" and sorted(np.concatenate(groups)) == list(range(len(windows())))
    ends = [windows().panel.times[windows().origins.numpy()[group]] for group in groups]
    assert len(groups) == 8 and all(one.max() < two.min() for one, two in pairwise(ends))
    few, over = groups_of(windows(ROWS - PARAMS.ahead - 2), 8)
    assert over == "series" and [list(one) for one in few] == [[0, 1], [2, 3], [4, 5]]
