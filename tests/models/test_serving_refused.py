"""A served model refuses what training refuses, in the same words (`models/data/refused.py`)."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from models import serving
from models.data import refused
from models.data.window import FeatureWindow, WindowParams

PARAMS = WindowParams(1, {"x": FeatureWindow(2), "y": FeatureWindow(2)}, future=("promo",), static={"area": "numeric"})
ALONE = {"scaling": {"target": "log1p"}}
MEMBERS = {"scaling": {"target": "none"}, "members": [{"scaling": {"target": "asinh"}}, {"scaling": {"target": "log1p"}}]}


def model(job: dict[str, Any], params: WindowParams = PARAMS) -> serving.Model:
    facts = {
        "windows": params.to_dict(),
        "channels": [{"name": name, **vars(window)} for name, window in params.channels.items()],
        "ids": ["a"],
        "frequency": 1,
        "forward_fill": 0,
        "half_widths": [0.5],
        "categories": {},
        "trained_on": {"job": job},
    }
    return serving.Model(facts, lambda past, *_: torch.zeros(len(past), 1, 1))


def rows(**changes: Any) -> pd.DataFrame:
    """Two series of eight rows; what is known ahead stands in the last. Changes are put into row 9, b's second."""
    columns: dict[str, Any] = {"y": 1.0, "x": 2.0, "promo": 0.0, "area": 3.0}
    frame = pd.DataFrame({"unique_id": ["a"] * 8 + ["b"] * 8, "ds": [*range(8)] * 2, **columns})
    frame.loc[[7, 15], "y"] = np.nan
    for name, value in changes.items():
        frame[name] = frame[name].astype(object if isinstance(value, str) else float)
        frame.loc[9, name] = value
    return frame


def test_the_words_are_those_of_training() -> None:
    assert serving.REFUSED == refused.REFUSED and (serving.MOST_SIZE, serving.LOG1P) == (refused.MOST, refused.LOG1P)


@pytest.mark.parametrize("name", ["y", "x", "promo", "area"])
@pytest.mark.parametrize(("value", "kind"), [("high", "text"), (np.inf, "infinite"), (-np.inf, "infinite"), (-2e30, "huge")])
def test_every_column_that_is_read_holds_numbers_in_every_row(name: str, value: Any, kind: str) -> None:
    with pytest.raises(ValueError, match=f"series 'b', column '{name}': ") as refusal:
        model(ALONE).forecast(rows(**{name: value}))
    assert str(refusal.value).endswith(refused.REFUSED[kind])
    assert len(model(ALONE).forecast(rows(**{name: np.nan}))) == 2  # what is missing is missing


@pytest.mark.parametrize("job", [ALONE, MEMBERS])
@pytest.mark.parametrize("low", [-1.0, -5.0])
def test_a_target_that_has_no_logarithm_is_refused_where_one_is_taken(job: dict[str, Any], low: float) -> None:
    with pytest.raises(ValueError, match=f"series 'b', column 'y': {low} is too low") as refusal:
        model(job).forecast(rows(y=low))
    assert str(refusal.value).endswith(refused.REFUSED["log1p"])
    for other in ({}, {"scaling": {"target": "asinh"}}):
        assert len(model(other).forecast(rows(y=low))) == 2
    assert len(model(job).forecast(rows(y=-0.999))) == 2


def test_a_target_that_no_feature_reads_is_looked_at_too() -> None:
    alone = model(ALONE, WindowParams(1, {"x": FeatureWindow(2)}))
    with pytest.raises(ValueError, match="column 'y'"):
        alone.forecast(rows(y=-3.0))
    assert len(alone.forecast(rows().drop(columns="y"))) == 2
