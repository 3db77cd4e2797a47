"""The section on intervals: coverage of every model by group, and the method of each with the scores behind the choice."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import polars as pl

from models.serving import Calibration
from params.load import load_run
from tasks.calibrate.calibrate import Calibrated
from tasks.compare.compare import Comparison
from tasks.report.intervals import _methods, intervals_of

Made = Callable[[bool], Comparison]


def test_the_method_of_each_model_is_told_with_the_scores_behind_the_choice(made: Made) -> None:
    one = Calibration(np.array([0.5]), np.zeros((1, 1, 1)), np.ones(1), np.zeros(1, np.int64))
    found = made(True)
    assert _methods(found) == ""
    calibrated = {"gru": Calibrated(one, "cqr", {"split": 4.5, "cqr": 3.25}), "theta": Calibrated(one, "split")}
    text = _methods(replace(found, calibrations=calibrated))
    assert "<dt>gru</dt><dd>cqr (interval score on rows that each was not calibrated on: cqr 3.25, split 4.5)</dd>" in text
    assert "<dt>theta</dt><dd>split</dd>" in text and "last_value" not in text


def test_every_model_has_a_row_with_the_coverage_of_each_group(made: Made) -> None:
    run, found = load_run("params/smoke.yaml", []), made(True)
    shares = {"gru": (0.95, 0.85), "last_value": (0.7, 0.5)}
    slices = [{"model": model, "by": "series", "value": name, "n": 9, "coverage_90": share}
              for model, pair in shares.items() for name, share in zip(("large", "small"), pair, strict=True)]  # fmt: skip
    rows = [row.with_numbers(test_coverage_90=sum(shares[row.name]) / 2 if row.name in shares else None) for row in found.rows]
    text = intervals_of(replace(found, rows=rows, slices=pl.DataFrame(slices)), run)
    assert '<td>gru</td><td class="n">95.0</td><td class="n">85.0</td><td class="n">90.0</td>' in text
    assert '<td>last_value</td><td class="n">70.0</td><td class="n">50.0</td><td class="n">60.0</td>' in text
    assert "<td>gru-s1</td>" not in text and "90 % interval, % inside" in text
