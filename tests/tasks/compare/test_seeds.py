"""One row a variant over its seeds, by hand."""

from dataclasses import replace
from typing import Any

import pytest

from tasks.compare.board import ScoreRow, Standing
from tasks.compare.seeds import by_variant, merged
from tasks.train.kind import Kind


def fit(name: str, variant: str, val_mae: float | None, test_mae: float | None = None, note: str = "", **more: Any) -> ScoreRow:
    scores = {} if val_mae is None else {"val_mae": val_mae, "test_mae": test_mae}
    return ScoreRow(
        name=name,
        kind=Kind.VARIANT,
        variant=variant,
        status=Standing.FAILED if val_mae is None else Standing.FINISHED,
        seed=0,
        note=note,
        numbers={**scores, **more},
    )


def test_means_and_spreads() -> None:
    rows = [
        fit("gru", "gru", 4.0, 5.0, num_parameters=7, train_seconds=1.0, receptive_field=10),
        fit("lstm", "lstm", 3.0, 3.5),
        fit("gru-s1", "gru", 5.0, 7.0, num_parameters=7, train_seconds=3.0, receptive_field=13),
        fit("gru-s2", "gru", 6.0, 9.0, num_parameters=7, train_seconds=2.0, receptive_field=13),
    ]
    gru, lstm = merged(rows)
    assert (gru.name, gru["val_mae"], gru["test_mae"], gru.seeds) == ("gru", 5.0, 7.0, 3)
    assert (gru["val_mae_spread"], gru["test_mae_spread"]) == pytest.approx((1.0, 2.0))  # n - 1
    assert (gru["num_parameters"], gru["train_seconds"], gru["receptive_field"]) == (7, 2.0, 12)
    assert (lstm.seeds, lstm["test_mae_spread"], lstm["test_mae"]) == (1, None, 3.5)
    assert list(by_variant(rows)) == ["gru", "lstm"]


def test_seeds_that_failed_are_said_and_not_counted() -> None:
    rows = [fit("gru", "gru", None, note="diverged"), fit("gru-s1", "gru", 5.0, 7.0, note="rows 3 to 4 unused")]
    (gru,) = merged(rows)
    assert (gru.name, gru.finished, gru["val_mae"], gru.seeds) == ("gru", True, 5.0, 1)
    assert gru.note == "1 of 2 seeds failed (diverged); rows 3 to 4 unused"
    (lost,) = merged([fit("gru", "gru", None, note="diverged"), fit("gru-s1", "gru", None, note="diverged")])
    assert (lost.name, lost.status, lost.note, lost["val_mae"]) == ("gru", Standing.FAILED, "diverged", None)


def test_what_has_no_seed_has_no_spread() -> None:
    ridge = replace(fit("ridge", "ridge", 3.0, 3.1), seeded=False)
    naive = replace(fit("last_value", "last_value", 4.0), kind=Kind.BASELINE)
    for row in merged([ridge, naive]):
        assert row.seeds is None and row["val_mae_spread"] is None
