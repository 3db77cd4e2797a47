"""benchmarks/_judged.py: what a leaderboard says of the networks of a panel, by hand."""

from dataclasses import replace
from typing import Any

import polars as pl
import pytest

from benchmarks._judged import NEITHER, Ahead, Model, Row, ahead_of, facts_of, judged, report
from models.families import FAMILIES


def raw(name: str, kind: str, family: str | None, val: float | None, **numbers: Any) -> dict[str, Any]:
    rows = {"val_rows": 100, "test_rows": 100, "val_skill": None if val is None else 1 - val / 2.0}
    test = {"test_score": 3.0, "test_skill": None, "test_mase": 0.5}
    found = {"name": name, "kind": kind, "family": family, "status": "finished", "note": "", "val_score": val}
    return found | rows | test | numbers


# theta, the bar, forecasts 100 rows; auto_ets only 20 of them, on which it is no better: its own error is not to be compared
FACTS = {
    "baseline": "theta",
    "naive": "last_value",
    "choose_by": "mase",
    "rows": [
        raw("theta", "baseline", "baseline", 2.0, test_score=4.0, test_skill=0.0, test_mase=0.9),
        raw("auto_ets", "baseline", "baseline", 0.1, val_rows=20, val_skill=-0.5),
        raw("last_value", "baseline", "baseline", 2.4),
        raw("ridge", "variant", "ridge", 1.6),
        raw("dense_relu", "variant", "dense", 1.1),
        raw("nlinear", "variant", "linear", 1.2),
        raw("ensemble_mixed", "ensemble", None, 1.0),
        raw("gru", "variant", "recurrent", 1.7),
        raw("cnn", "variant", "convolutional", 1.2, test_skill=0.25),
        raw("tcn", "variant", "tcn", None, status="failed"),
    ],
}


def changed(**rows: dict[str, Any]) -> dict[str, Any]:
    return FACTS | {"rows": [row | rows.get(row["name"], {}) for row in FACTS["rows"]]}  # type: ignore[attr-defined]


def test_a_row_has_the_best_of_each_by_validation_on_the_rows_of_the_best_baseline() -> None:
    row = judged("etth1", FACTS, 2)
    assert row.network == Model("cnn", pytest.approx(1.2), pytest.approx(3.0), 0.5)  # a quarter below the 4.0 of theta
    assert row.ridge and (row.ridge.name, row.ridge.error) == ("ridge", pytest.approx(1.6))
    assert row.baseline == Model("theta", 2.0, 4.0, 0.9)
    assert row.best and (row.best.name, row.best.error) == ("ensemble_mixed", pytest.approx(1.0))
    assert (row.measure, row.ranges, row.in_front) == ("mase", 2, True)
    assert row.gain == pytest.approx(0.25)  # 1.2 for the 1.6 of ridge


def test_a_network_is_in_front_only_where_it_beats_ridge_and_the_baseline() -> None:
    level = {"val_score": 1.6, "val_skill": 0.2}
    assert not judged("etth1", changed(cnn=level, gru=level)).in_front
    by_theta = judged("etth1", changed(cnn={"val_score": 1.7, "val_skill": 0.15}, ridge={"val_score": 2.1, "val_skill": -0.05}))
    assert by_theta.gain == pytest.approx(0.15)  # theta is the better of the two
    behind = {"val_score": 2.1, "val_skill": -0.05}
    assert not judged("etth1", changed(cnn=behind, gru=behind, ridge=behind)).in_front
    no_ridge = changed(ridge={"status": "failed", "val_score": None})
    assert judged("etth1", no_ridge).ridge is None and judged("etth1", no_ridge).gain == pytest.approx(0.4)
    failed = {"status": "failed", "val_score": None}
    none = judged("etth1", changed(cnn=failed, gru=failed))
    assert none.network is None and none.gain is None and not none.in_front


def test_a_network_of_fewer_rows_than_the_bar_has_what_its_skill_makes_of_the_bars_error() -> None:
    row = judged("etth1", changed(gru={"val_rows": 10, "val_score": 9.0, "val_skill": 0.5}))
    assert row.network and (row.network.name, row.network.error) == ("gru", pytest.approx(1.0))


def test_all_linear_families_and_dense_are_no_networks_here() -> None:
    assert {name for name, kind in FAMILIES.items() if kind.linear} | {"dense"} <= NEITHER
    assert set(FAMILIES) >= NEITHER
    assert {"recurrent", "convolutional", "tcn", "segment_gru"}.isdisjoint(NEITHER)


def rows() -> list[Row]:
    won = replace(judged("etth1", FACTS, 2), series=7, rows=99_995, minutes=2.25, core_minutes=4.0)
    lost = replace(judged("m4_hourly", changed(cnn={"val_score": 5e4, "val_skill": -24_999.0}), 1), minutes=1.0, partly=True)
    ahead = replace(judged("retail", FACTS, 2), ahead=Ahead(14, 0.75, 1.125))
    return [won, lost, replace(won, panel="bike"), ahead]


def test_the_report_counts_what_was_held_out_and_generated_apart() -> None:
    lines = report(rows(), 2, test=False)
    etth1 = "| etth1 | 7 | 99,995 | mase | cnn 1.2 | 1.6 | theta 2 | ensemble_mixed 1 | yes | +25.0 | 2 | 2.2 | 4.0 |"
    assert etth1 in lines and etth1.replace("etth1", "bike") in lines[lines.index("Held out:") :]
    assert [line for line in lines if line.startswith("| m4_hourly")] == [
        "| m4_hourly | 0 | 0 | mase | gru 1.7 | 1.6 | theta 2 | ensemble_mixed 1 | no | -6.2 | 1 | 1.0+ | 0.0+ |"
    ]
    assert next(line for line in lines if line.startswith("| retail")).endswith(
        "| 0.0 | 0.0 | 0.5 | 0.5 | 0.9 | 14 | 0.75 | 1.125 |"
    )
    assert (
        "a network in front on 1 of 2; of the 1 held out on 1; of the 1 generated on 1; 5.5 minutes in all, 8.0 of one core."
        in lines
    )
    assert lines[-2].startswith("+:")
    assert lines[-1] == "Too short for 2 validation ranges, and so judged on one: m4_hourly."
    heads = [line for line in lines if line.startswith("| panel")]
    for head, line in zip(heads, (etth1, etth1, "retail"), strict=True):
        row = next(one for one in lines if one == line or one.startswith(f"| {line}"))
        assert head.count("|") == row.count("|")


def test_test_errors_are_shown_where_they_are_asked_for_alone() -> None:
    (row,) = [line for line in report(rows()[:1], 2, test=True) if line.startswith("| etth1")]
    assert row.endswith("| 2.2 | 4.0 | 3 | 3 | 4 |")
    told = facts_of(rows()[0], test=False)
    assert told["network"] == {"name": "cnn", "error": pytest.approx(1.2)} and told["in_front"] and not told["held_out"]
    assert facts_of(rows()[0], test=True)["network"]["test"] == pytest.approx(3.0)
    assert facts_of(rows()[2], test=False)["held_out"]
    assert facts_of(rows()[3], test=False)["network"] == {"name": "cnn", "error": pytest.approx(1.2), "test_mase": 0.5}


def test_what_came_after_a_table_is_scored_on_as_many_steps_as_were_forecast() -> None:
    history = pl.DataFrame({"unique_id": [*"aaaa"], "ds": [*range(4)], "y": [1.0, 5.0, 3.0, 9.0]})
    ahead = pl.DataFrame({"unique_id": [*"aaa"], "ds": [4, 5, 6], "y": [5.0, 8.0, 99.0]})
    forecasts = pl.DataFrame({"unique_id": [*"aa"], "ds": [5, 4], "yhat": [8.0, 11.0]})
    # a season of two rows: steps of 2 and 4, and the naive repeats 3 and 9
    assert ahead_of(history, ahead, forecasts, 2) == Ahead(2, pytest.approx(1.0), pytest.approx(0.5))
