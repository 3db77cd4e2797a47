"""Names of a user and names of ours (names.py)."""

from collections.abc import Collection

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.names import all_apart, apart, column

NAMES = st.text(max_size=3) | st.sampled_from(["*", "^a.*$", "literal", "len", "a", "a_", "a__"])


@given(st.lists(NAMES, min_size=1, max_size=5, unique=True), st.data())
def test_a_column_is_picked_by_its_name_alone(names: list[str], data: st.DataObject) -> None:
    frame = pl.DataFrame({name: [number] for number, name in enumerate(names)})
    wanted = data.draw(st.sampled_from(names))
    found = frame.lazy().select(column(wanted)).collect()
    assert (found.columns, found.row(0)) == ([wanted], (names.index(wanted),))


@pytest.mark.parametrize(
    ("name", "ours", "found"),
    [
        ("a", (), "a"),
        ("cutoff", ("cutoff",), "cutoff_"),
        ("a", ("a", "a_"), "a__"),
        ("yhat-lo-90", ("yhat-lo-90",), "yhat-lo-90_"),
    ],
)
def test_a_name_gives_way_to_ours(name: str, ours: Collection[str], found: str) -> None:
    assert apart(name, ours) == found


@given(st.lists(NAMES, max_size=6, unique=True), st.sets(NAMES, max_size=4))
def test_names_that_give_way_meet_nothing(names: list[str], ours: set[str]) -> None:
    found = all_apart(names, ours)
    assert list(found) == names
    assert len({*found.values(), *ours}) == len(names) + len(ours)
    assert all(new == name for name, new in found.items() if name not in ours)
