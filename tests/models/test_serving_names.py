"""Forecasts are the same whatever the columns are called (models/serving.py): as a frame, as JSON and as CSV."""

import csv
import io
import json
from typing import Any

import numpy as np
import pandas as pd
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models import serving
from models.data.window import FeatureWindow, WindowParams

OURS = (
    *(
        "size",
        "offset",
        "number",
        "len",
        "index",
        "row",
        "level",
        "level_0",
        "cutoff",
        "yhat",
        "yhat-lo-90",
        "value",
        "literal",
    ),
    *(
        "variable",
        "count",
        "columns",
        "data",
        "inputs",
        "instances",
        "dataframe_split",
        "0",
        "null",
        "nan",
        "true",
        "*",
        "^.*$",
    ),
    *("a.b", 'say "x"', "a,b", "[0]", "<b>", "☀", "y (ahead)", "hour_sin", "series", "position", "first", "last", "static"),
)
LETTERS = st.characters(exclude_categories=["Cs", "Cc"])
NAMES = st.sampled_from(OURS) | st.text(LETTERS, min_size=1, max_size=5).filter(
    lambda name: name not in ("unique_id", "ds", "y")
)
ROLES = ("x", "z", "event", "area", "kind")


def model(names: dict[str, str]) -> serving.Model:
    """Its forecasts tell every number that it was given, each with a weight of its own."""
    windows = {"y": FeatureWindow(2), names["x"]: FeatureWindow(2), names["z"]: FeatureWindow(1, delay=1)}
    static: Any = {names["area"]: "numeric", names["kind"]: "categorical"}
    params = WindowParams(2, windows, future=(names["event"],), static=static)
    facts = {
        "windows": params.to_dict(),
        "channels": [{"name": name, **vars(window)} for name, window in params.channels.items()],
        "ids": ["a", "b"],
        "frequency": 1,
        "forward_fill": 0,
        "half_widths": [0.5, None],
        "categories": {names["kind"]: ["p", "q"]},
    }

    def graph(past: torch.Tensor, ahead: torch.Tensor, static: torch.Tensor, series: torch.Tensor) -> torch.Tensor:
        parts = [part.double().nan_to_num().flatten(1) for part in (past, ahead, static, series[:, None])]
        numbers = torch.cat(parts, dim=1)
        return (numbers * torch.arange(1, numbers.shape[1] + 1)).sum(1)[:, None, None] + torch.arange(2)[None, :, None]

    return serving.Model(json.loads(json.dumps(facts)), graph)


def table(names: dict[str, str]) -> pd.DataFrame:
    rows = []
    for series, (one, kind) in enumerate((("a", "p"), ("b", "q"), ("new", "other"))):
        for step in range(6):
            y = None if step > 3 else series * 10.0 + step
            own = {"x": step + 0.25, "z": step * 2.0, "event": float(step % 2), "area": series + 0.5, "kind": kind}
            rows.append({"unique_id": one, "ds": step, "y": y} | {names[role]: value for role, value in own.items()})
    return pd.DataFrame(rows).sample(frac=1.0, random_state=1)


PLAIN = model(dict(zip(ROLES, ROLES, strict=True))).forecast(table(dict(zip(ROLES, ROLES, strict=True))))


@settings(max_examples=40, deadline=None)
@given(st.lists(NAMES, min_size=5, max_size=5, unique=True))
def test_a_name_changes_no_forecast(drawn: list[str]) -> None:
    names = dict(zip(ROLES, drawn, strict=True))
    served, frame = model(names), table(names)
    pd.testing.assert_frame_equal(served.forecast(frame), PLAIN)
    rows = frame.astype(object).where(frame.notna(), None)
    body = {"dataframe_split": {"columns": list(rows.columns), "data": rows.to_numpy().tolist()}}
    out = io.StringIO()
    csv.writer(out).writerows([rows.columns, *rows.to_numpy().tolist()])
    for text, kind in ((json.dumps(body), "application/json"), (out.getvalue(), "text/csv")):
        read, _ = serving._frame_of(text.encode(), kind, served, 100)
        pd.testing.assert_frame_equal(served.forecast(read), PLAIN)
    assert np.isfinite(PLAIN["yhat"]).all() and PLAIN["yhat"].nunique() == len(PLAIN)
