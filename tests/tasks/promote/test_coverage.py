"""Panels whose coverage is known: what does not hold for a part is refused by its name, and what holds is not."""

import re
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
import polars as pl
import pytest

from params.evaluation import PromotionParams
from params.load import load_run
from tasks.compare.distribution import fifths
from tasks.promote.coverage import Part, coverage, parts

HORIZON = 8
NORMAL = NormalDist()


def rules(**changes: Any) -> PromotionParams:
    return load_run("params/smoke.yaml").promotion.model_copy(update=changes)


def reach(share: float) -> float:
    """The half width of an interval of a standard normal that covers a share."""
    return NORMAL.inv_cdf((1 + share) / 2)


def a_panel(
    shares: Sequence[float] | np.ndarray,
    origins: int = 60,
    stride: int = HORIZON,
    seed: int = 0,
    lasting: float = 0.5,
    common: float = 0.2,
) -> pl.DataFrame:
    """Series i of the size 10^i/10 with an interval that covers `shares` [S] or [S, H] of a normal distribution.

    Errors: a share `common` of their variance is that of all series, and each lasts (an autocorrelation of `lasting`).
    """
    covers = np.broadcast_to(np.array(shares, float).reshape(len(shares), -1), (len(shares), HORIZON))
    rng, count = np.random.default_rng(seed), origins * stride + HORIZON
    noise = rng.normal(size=(count, len(shares) + 1))
    for t in range(1, count):
        noise[t] = lasting * noise[t - 1] + np.sqrt(1 - lasting**2) * noise[t]
    errors = np.sqrt(common) * noise[:, :1] + np.sqrt(1 - common) * noise[:, 1:]
    keys = [(i, c * stride, k) for i in range(len(shares)) for c in range(origins) for k in range(1, HORIZON + 1)]
    series, cutoff, step = np.array(keys).T
    size = 10.0 ** (series / 10)
    half = size * np.vectorize(reach)(covers)[series, step - 1]
    return pl.DataFrame(
        {
            "unique_id": [f"s{i:02d}" for i in series],
            "cutoff": cutoff,
            "ds": cutoff + step,
            "step": step,
            "y": 100 * size + size * errors[cutoff + step - 1, series],
            "challenger": 100 * size,
            "challenger-lo-90": 100 * size - half,
            "challenger-hi-90": 100 * size + half,
        }
    )


def sizes(frame: pl.DataFrame) -> pl.DataFrame:
    """The rows that are judged are of the size of those of training."""
    return fifths(frame.group_by("unique_id").agg(size=pl.col("y").abs().mean()))


def judged(frame: pl.DataFrame, **changes: Any) -> tuple[bool, str, dict[str, Part]]:
    found, some = coverage(frame, sizes(frame), rules(**changes))
    return found.passed, found.words, {one.name: one for one in some}


def test_a_pool_of_ninety_percent_whose_top_fifth_has_fifty_is_refused_by_name() -> None:
    passed, words, found = judged(a_panel([0.99999] * 16 + [0.5] * 4), coverage=(0.8, 1.0))
    assert not passed and found["all rows"].share == pytest.approx(0.9, abs=0.02) and not found["all rows"].outside
    assert [one.name for one in found.values() if one.refused] == ["the largest fifth of the series"]
    assert re.search(r"; 1 outside by more than chance: the largest fifth of the series with (4\d|5\d)\.\d%$", words), words
    wide = judged(a_panel([0.99999] * 16 + [0.5] * 4))[1]  # and those that cover all, where less is asked for
    assert "; 5 outside by more than chance: the smallest fifth of the series with 100.0%, the second fifth" in wide


def test_a_calibrated_panel_passes_whatever_its_sizes_and_the_words_show_the_worst() -> None:
    passed, words, found = judged(a_panel([0.9] * 20))
    assert passed and len(found) == 1 + 5 + 4 and all(one.judged and one.origins == 60 for one in found.values())
    assert words.startswith(
        f"the 90 % interval covers {found['all rows'].share:.1%}, between 80% and 97% is asked for; of 10 parts"
    )
    low = min(found.values(), key=lambda one: one.share)
    assert f"{low.name} covers least, {low.share:.1%}, and " in words and "outside" not in words


def test_with_fewer_than_ten_series_each_is_judged_and_named() -> None:
    passed, words, found = judged(a_panel([0.9, 0.9, 0.6]))
    assert not passed and list(found)[:4] == ["all rows", "series 's00'", "series 's01'", "series 's02'"]
    assert "1 outside by more than chance: series 's02' with" in words
    alone = judged(a_panel([0.9]))[2]
    assert list(alone) == ["all rows", *(f"steps {k} to {k + 1}" for k in (1, 3, 5, 7))]


def test_a_part_of_the_horizon_is_judged_and_named() -> None:
    late = np.full((20, HORIZON), 0.93)
    late[:, 6:] = 0.65
    passed, words, _ = judged(a_panel(late))
    assert not passed and "; 1 outside by more than chance: steps 7 to 8 with" in words


def test_few_origins_are_shown_and_not_judged() -> None:
    frame = a_panel([0.4] * 20, origins=29)
    passed, words, found = judged(frame)
    assert passed and not any(one.judged for one in found.values()) and words.endswith("29 origins, 30 are needed")
    assert "; 10 outside, not judged by fewer than 30 origins: all rows with" in words
    assert not judged(a_panel([0.4] * 20, origins=30))[0]
    late = a_panel([0.9] * 19 + [0.1], origins=60).filter((pl.col("unique_id") < "s16") | (pl.col("cutoff") < 20 * HORIZON))
    passed, words, found = judged(late)  # the largest fifth has few origins, the others have them
    assert passed and found["all rows"].judged and not found["the largest fifth of the series"].judged


@pytest.mark.parametrize(
    "shape", [(3, 55, 4, 0.8, 0.3), (20, 30, HORIZON, 0.5, 0.5), (3, 120, 1, 0.9, 0.3), (1, 40, 8, 0.0, 0.0)]
)
def test_false_alarms_are_rare_even_where_coverage_is_just_what_is_asked_for(shape: tuple[int, int, int, float, float]) -> None:
    """About one in a hundred panels at the very end of the range, and none that covers 90 %; overlapping origins too."""
    series, origins, stride, lasting, common = shape
    alarms = dict.fromkeys((0.8, 0.9, 0.97), 0)
    for share in alarms:
        for seed in range(15):
            frame = a_panel([share] * series, origins, stride, seed, lasting, common)
            alarms[share] += not judged(frame)[0]
    assert alarms[0.9] == 0 and alarms[0.8] <= 1 and alarms[0.97] <= 1, alarms


def test_intervals_that_cover_everything_are_too_wide_where_rows_enough_say_so() -> None:
    found = judged(a_panel([0.999999] * 20))
    assert not found[0] and "outside by more than chance: all rows with 100.0%" in found[1]
    assert judged(a_panel([0.999999] * 20), coverage=(0.8, 1.0))[0]
    few = judged(a_panel([0.97], origins=30, common=0.0))  # a series alone: chance covers all 240 rows now and then
    assert few[0]


def test_whole_numbers_with_many_zeros_are_not_called_too_wide() -> None:
    """Poisson 0.1: 0 and 1 are 99.5 %, and 0 alone would be 90.5 %: no interval of whole numbers covers 90 %."""
    frame = a_panel([0.9] * 20)
    rare = frame.with_columns(
        pl.Series("y", np.random.default_rng(0).poisson(0.1, frame.height).astype(float)),
        **{"challenger-lo-90": pl.lit(0.0), "challenger-hi-90": pl.lit(1.0)},
    )
    passed, _, found = judged(rare)
    assert passed and found["all rows"].share > 0.99 and not found["all rows"].outside
    wide = rare.with_columns(pl.lit(-3.0).alias("challenger-lo-90"), pl.lit(9.0).alias("challenger-hi-90"))
    assert not judged(wide)[0]
    still = rare.with_columns(pl.lit(0.0).alias("challenger-hi-90"))  # [0, 0], of no width
    assert judged(still)[0] and judged(still)[2]["all rows"].share == pytest.approx(0.905, abs=0.01)
    assert not judged(still.with_columns(y=pl.lit(1.0)))[0]


def test_an_interval_that_is_missing_is_named() -> None:
    frame = a_panel([0.9] * 3)

    def without(where: pl.Expr) -> str:
        low = pl.when(~where).then("challenger-lo-90").alias("challenger-lo-90")
        passed, words, found = judged(frame.with_columns(low))
        assert not passed and not found
        return words

    assert without(pl.col("step") == 3) == "there is no interval of step 3: too few validation residuals"
    assert without(pl.col("unique_id") == "s01") == "there is no interval of series 's01': too few validation residuals"
    assert "of step 1, 2, 3, 4, 5" in without(pl.lit(True))
    nothing = frame.with_columns(y=pl.lit(None, pl.Float64))
    assert judged(nothing)[1] == "there is no interval to judge: too few validation residuals"
    gone = pl.col("unique_id") == "s00"  # of a baseline without a forecast: neither has it an interval
    none = frame.with_columns(
        pl.when(~gone).then(name).alias(name) for name in ("challenger", "challenger-lo-90", "challenger-hi-90")
    )
    assert judged(none)[0]


def test_series_that_training_did_not_see_count_in_the_pool() -> None:
    frame = a_panel([0.9] * 3)
    some = coverage(frame, sizes(frame.filter(pl.col("unique_id") != "s02")), rules())[1]
    assert [one.name for one in some][:3] == ["all rows", "series 's00'", "series 's01'"] and some[0].origins == 60


def test_shares_are_those_of_numpy() -> None:
    frame = a_panel([0.7] * 12, origins=35)
    rows = frame.rename({"challenger-lo-90": "low", "challenger-hi-90": "high"})
    y, low, high, step = (rows[name].to_numpy() for name in ("y", "low", "high", "step"))
    inside, number = (low <= y) & (y <= high), rows["unique_id"].str.slice(1).cast(pl.Int64).to_numpy()
    found = {one.name: one.share for one in parts(rows, sizes(frame), (0.8, 0.97))}
    assert found["all rows"] == pytest.approx(inside.mean())
    assert found["steps 3 to 4"] == pytest.approx(inside[(step == 3) | (step == 4)].mean())
    assert found["the smallest fifth of the series"] == pytest.approx(inside[number < 3].mean())
