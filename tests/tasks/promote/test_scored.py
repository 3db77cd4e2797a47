"""Versions that answer different questions are not compared; the scores of two are tried on `tests/flows/test_home_0_1.py`."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.promote.scored import unlike
from tasks.registry.facts import BundleFacts
from tasks.registry.load import Version


def version(facts: BundleFacts, number: str) -> Version:
    return Version("story", number, "run", "digest", Path("nowhere"), facts)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({}, None),
        ({"columns": {"unique_id": "a", "ds": "b", "y": "sales"}}, "the champion sales: their errors are of different things"),
        ({"windows": {"horizon": 3}}, "the challenger has a horizon of 4, the champion of 3: they forecast different things"),
        ({"windows": {"gap": 0}}, "the challenger has a gap of 1, the champion of 0: they forecast different things"),
        ({"frequency": "1d"}, "the challenger and the champion have different frequencies"),
        ({"trained_on": None}, "story version 1 was registered by an older lagline and does not say what it has seen"),
    ],
)
def test_what_makes_two_versions_unlike_is_said(house: Any, change: dict[str, Any], told: str | None) -> None:
    ours = house.facts(trained_on=house.made())
    own = {name: replace(ours.windows, **value) if name == "windows" else value for name, value in change.items()}
    found = unlike(version(ours, "2"), version(replace(ours, **own), "1"))
    assert found is None if told is None else told in (found or "")
    assert unlike(version(ours, "2"), None) is None
