"""benchmarks/accuracy.py, and that every other file of benchmarks/ can be imported, since none of them runs in the tests."""

import argparse
import importlib
from pathlib import Path

import polars as pl
import pytest

from benchmarks import accuracy

FOLDER = Path(accuracy.__file__).parent
HISTORY = pl.DataFrame({"unique_id": ["a"] * 6, "ds": [*range(6)], "y": [1.0, 2.0, 4.0, 5.0, 7.0, 8.0]})
FORECASTS = pl.DataFrame(
    {"unique_id": "a", "cutoff": 4, "ds": [5], "y": [8.0], "gru": [7.5], "gru-s1": [6.0], "theta": [8.0], "naive2": [7.0]}
)
ENDS = {
    f"{model}-{side}-{level}": value + sign * level / 20
    for model, value in (("gru", 7.5), ("gru-s1", 6.0))
    for level in (20, 40, 60, 80, 90, 95)
    for side, sign in (("lo", -1), ("hi", 1))
}
OURS = {"test_msis_95": 6.25, "test_wql": 0.125}
ROWS = [
    {"name": name, "kind": kind, "status": "finished", "val_score": 0.5, "seeds": seeds, "test_owa": 0.75, **OURS}
    for name, kind, seeds in (("gru", "variant", 2), ("theta", "baseline", None), ("naive2", "baseline", None))
]


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.py")))
def test_every_benchmark_can_be_imported(name: str) -> None:
    assert importlib.import_module(f"benchmarks.{name}").__doc__  # what it measures


def test_scores_of_m4_are_the_competitions_and_means_over_seeds() -> None:
    told = accuracy.scores_of(FORECASTS, ROWS, HISTORY, 1)
    assert set(told) == {"gru", "theta", "naive2"}
    found = {name: {key: one[key] for key in ("smape", "mase", "owa")} for name, one in told.items()}
    assert told["gru"]["msis"] is None  # the frame has no interval
    # the last value is 7, and the mean step of the five rows before 1.5: the actual is 8
    assert found["naive2"] == pytest.approx({"smape": 200 / 15, "mase": 1 / 1.5, "owa": 1.0})
    assert found["theta"] == {"smape": 0.0, "mase": 0.0, "owa": 0.0}
    one, two = (100 / 15.5, 0.5 / 1.5), (400 / 14, 2 / 1.5)
    assert found["gru"]["smape"] == pytest.approx((one[0] + two[0]) / 2)
    ratios = [(smape / (200 / 15) + mase / (1 / 1.5)) / 2 for smape, mase in (one, two)]
    assert found["gru"]["owa"] == pytest.approx(sum(ratios) / 2)


def test_the_table_of_m4_has_our_owa_beside_the_competitions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    FORECASTS.with_columns(**{name: pl.lit(value) for name, value in ENDS.items()}).write_parquet(
        tmp_path / "forecasts.parquet"
    )
    monkeypatch.setattr(accuracy, "open_source", lambda data: None)
    monkeypatch.setattr(accuracy, "long_frame", lambda run, source: HISTORY.lazy())
    run = argparse.Namespace(data=None)
    found = {"name": "m4-weekly", "run": run, "command": "", "rows": [dict(row) for row in ROWS], "chosen": "gru"}
    accuracy.show_m4(argparse.Namespace(name="m4_weekly"), found | {"forecasts": tmp_path / "forecasts.parquet"})
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    (gru, intervals), (naive2,) = ([line for line in lines if line[:1] == [name]] for name in ("gru", "naive2"))
    assert gru[:3] == ["gru", "*", "0.500"] and gru[-2:] == ["0.7500", "2"]
    assert naive2[1:] == ["0.500", "13.333", "0.667", "1.0000", "0.7500"]
    # the actual 8 lies in both intervals of 95 %, which are 9.5 wide; a step of the five rows before is 1.5
    assert intervals[1:4] == ["*", "6.33", "0.050"] and intervals[5:] == ["1.000", "1.000", "6.25", "0.1250"]
    # the deciles lie at -4, -3 .. 4 around 7.5 and 6: their pinball losses, doubled, over the actual
    parts = [2 * max(q / 10 * e, (q / 10 - 1) * e) / 8 for at in (7.5, 6.0) for q in range(1, 10) for e in [8 - at - (q - 5)]]
    assert float(intervals[4]) == pytest.approx(sum(parts) / len(parts), abs=5e-5)
    assert ["(beside)", "ARIMA", "19.58", "0.005"] in lines
