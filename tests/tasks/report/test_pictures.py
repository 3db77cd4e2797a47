"""Which pictures a comparison has, and against whom: the best baseline, by skill; the best variant where that is shown."""

from collections.abc import Callable

import polars as pl
import pytest

from tasks.compare.compare import Comparison
from tasks.report.pictures import LINES, _skills, beside, drawn_models
from tasks.train.kind import Kind

Made = Callable[[bool], Comparison]


def test_skill_is_in_percent_and_only_variants_are_told_apart(made: Made) -> None:
    gru, naive = _skills(made(True))
    assert (gru.name, gru.mean, gru.low, gru.high) == pytest.approx(("gru", 25.0, 10.0, 40.0)) and not gru.alike
    assert (naive.name, naive.mean, naive.low, naive.kind) == ("last_value", -100.0, None, Kind.BASELINE)
    assert not naive.alike  # its p is 0.3, but a baseline is of no group


def test_the_best_baseline_is_drawn_beside_the_winner_and_the_best_variant_beside_the_best_baseline(made: Made) -> None:
    assert beside(made(True)) == "theta"
    assert beside(made(False)) == "gru"


def test_a_line_picture_has_seven_lines_the_best_baseline_and_the_best_variants() -> None:
    variants, baselines = [f"v{number}" for number in range(9)], ["naive", "theta", "drift"]
    names = [*variants[:2], "naive", "theta", *variants[2:], "drift", "failed"]
    kinds = ["baseline" if name in baselines else "variant" for name in names]
    scores = [*(float(place) for place in range(len(names) - 1)), None]
    board = pl.DataFrame({"name": names, "kind": kinds, "val_score": scores})
    assert drawn_models(board, "theta") == ["v0", "v1", "theta", "v2", "v3", "v4", "v5"] and LINES == 7
    few = board.filter(~pl.col("name").is_in(variants[2:]))
    assert drawn_models(few, "theta") == ["v0", "v1", "naive", "theta", "drift"]
