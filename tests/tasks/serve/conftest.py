"""A version of random weights, without a registry, and a table like the one that it reads."""

from typing import Any

import polars as pl
import pytest

from params.load import load_run
from tasks.registry.load import Version

RUN = ("data.id=series", "data.time=hour", "data.target=temp", "windows.features={y: {lookback: 12}, x: {lookback: 4}}")


@pytest.fixture(scope="module")
def version(house: Any, tmp_path_factory: pytest.TempPathFactory) -> Version:
    """A version without a registry, of a run that reads the columns of `table`."""
    folder = tmp_path_factory.mktemp("bundle") / "bundle"
    made = house.made(run=load_run("params/nyc_weather.yaml", RUN))
    digest = house.write(folder, house.build(), trained_on=made)
    return Version("own", "1", "", digest, folder, house.facts(trained_on=made))


@pytest.fixture
def table(house: Any) -> pl.DataFrame:
    return house.history.rename({"unique_id": "series", "ds": "hour", "y": "temp"})  # type: ignore[no-any-return]
