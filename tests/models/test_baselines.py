"""The baselines by name: run files, jobs and what is served know the same ones; what each of them is given."""

import pytest

from models import serving
from models.baselines import BASELINES, NAIVES, arguments_of
from params import evaluation


def test_a_run_file_a_job_and_what_is_served_know_the_same_names() -> None:
    assert evaluation.BASELINES == BASELINES and BASELINES[:3] == NAIVES
    assert all(map(serving.is_baseline, BASELINES)) and not serving.is_baseline("ridge")


@pytest.mark.parametrize(
    ("name", "season", "told"),
    [
        ("drift", 24, {"season": 24}),
        ("naive2", 7, {"season": 7}),
        ("theta", 24, {"season": 24, "rows": 500}),
        ("theta", 100, {"season": 100, "rows": 1000}),  # ten seasons are more
        ("auto_ets", 24, {"season": 24, "rows": 240}),
        ("auto_ets", 168, {"season": 168, "rows": 504}),  # three
    ],
)
def test_a_fit_gets_so_many_rows_or_seasons(name: str, season: int, told: dict[str, int]) -> None:
    assert arguments_of(name, season).to_dict() == told


def test_an_unknown_name_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(ValueError, match="unknown baseline 'arima'; there are: last_value, drift"):
        arguments_of("arima", 1)
