"""The section `search` of a variant file: what it may say, what is refused and where, what a tuned file holds."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from params.errors import UserError
from params.load import PARAMS, load_plan, load_variant, variant_names
from params.search import Dimension, check_keys, path_of, tuned

WHOLE, DECADES = Dimension(low=2, high=8, step=2), Dimension(low=1e-4, high=1e-1, log=True)


def write(path: Path, search: str) -> Path:
    path.write_text(f"family: recurrent\nabout: x\nnetwork: {{cell: gru, hidden_size: 8}}\nsearch:\n{search}")
    return path


@pytest.fixture
def variant(monkeypatch, tmp_path):
    """`variant("  key: value")` reads a variant whose search has these lines."""
    (tmp_path / "variants").mkdir()
    for name in ("base.yaml", "smoke.yaml"):
        (tmp_path / name).write_text((PARAMS / name).read_text())
    monkeypatch.setattr("params.load.PARAMS", tmp_path)

    def read(search: str):
        write(tmp_path / "variants" / "mine.yaml", search)
        return load_variant("mine", tmp_path / "smoke.yaml", ["variants=[mine]"])

    return read


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ("  hidden_size: {low: 16, hgh: 256}\n", "mine.yaml:5: unknown key 'search.hidden_size.hgh'; did you mean 'high'?"),
        ("  hidden_size: {low: 16}\n", "mine.yaml:5: search.hidden_size: write low and high"),
        ("  hidden_size: {low: 32, high: 16}\n", "low 32 must lie below high 16"),
        ("  hidden_size: {low: a, high: 16}\n", "mine.yaml:5: search.hidden_size.low"),
        ("  dropout: {low: 0.0, high: 0.5, log: true}\n", "log: true needs a low above 0"),
        ("  dropout: {low: 0.1, high: 0.5, step: 0.9}\n", "step 0.9 must be at most high - low"),
        ("  hidden_size: {low: 8, high: 16, step: 0.5}\n", "step 0.5 must be at most high - low, and whole where they are"),
        ("  hidden_size: {choices: [16, 32], low: 3}\n", "choices stand alone"),
        ("  hidden_size: {choices: [16]}\n", "write at least two choices, each once"),
        ("  hidden_size: {choices: [16, 16]}\n", "write at least two choices, each once"),
        ("  dropout: {low: 0.0, high: 0.2}\n  windows.horizon: {low: 1, high: 2}\n", "mine.yaml:6: search: windows.horizon is"),
        ("  data.path: {choices: [a, b]}\n", "mine.yaml:5: search: data.path is not searched"),
        ("  training.seeds: {low: 1, high: 2}\n", "mine.yaml:5: search: training.seeds is not searched; of the training: trai"),
        ("  scaling.horizon: {low: 1, high: 2}\n", "of the scaling: scaling.per"),
        ("  training.learning_rat: {low: 0.1, high: 0.2}\n", "training.learning_rat is not searched"),
        ("  - hidden_size\n", "mine.yaml:4: search: write keys and values below it"),
    ],
)
def test_what_a_search_may_not_say_is_told_with_its_line(variant, lines: str, told: str) -> None:
    with pytest.raises(UserError) as error:
        variant(lines)
    assert told in str(error.value)


def test_a_search_is_read_as_it_stands(variant) -> None:
    found = variant("  hidden_size: {low: 16, high: 256, log: true}\n  scaling.window: {choices: [last, revin]}\n").search
    assert found["hidden_size"] == Dimension(low=16, high=256, log=True) and found["hidden_size"].whole
    assert found["scaling.window"].ends == ("last", "revin")


def test_a_search_of_too_many_keys_is_refused() -> None:
    with pytest.raises(UserError, match="31 keys are too many"):
        check_keys({f"a{number}": {} for number in range(31)}, {("search",): "x:1"}, "x")


@pytest.mark.parametrize(
    ("dimension", "value", "held"),
    [
        (WHOLE, 4, True),
        (WHOLE, 5, False),
        (WHOLE, 10, False),
        (WHOLE, 4.0, False),
        (WHOLE, None, False),
        (DECADES, 1e-4, True),
        (DECADES, 0.2, False),
        (Dimension(low=0.0, high=0.5, step=0.1), 0.3, True),
        (Dimension(low=0.0, high=0.5, step=0.1), 0.35, False),
        (Dimension(choices=(1, 2)), 2, True),
        (Dimension(choices=(1, 2)), True, False),
        (Dimension(choices=(1, 2)), 3, False),
    ],
)
def test_whether_a_value_may_be_drawn(dimension: Dimension, value, held: bool) -> None:
    assert dimension.holds(value) is held


def test_a_value_is_kept_with_four_digits_and_stays_within_the_ends() -> None:
    assert DECADES.rounded(0.00123456789) == 0.001235
    assert Dimension(low=0.123456, high=0.2).rounded(0.1234561) == 0.1235
    assert Dimension(low=0.123443, high=0.2).rounded(0.123444) == 0.123443  # and not 0.1234
    assert WHOLE.rounded(4) == 4 and Dimension(choices=("a", "b")).rounded("b") == "b"


def test_a_tuned_file_has_the_values_in_their_sections_and_draws_as_its_variant() -> None:
    own = {"family": "f", "about": "old", "network": {"a": 1}, "training": {"batch_size": 8}, "search": {"a": {}}}
    found = tuned(own, "gru", {"a": 2, "training.learning_rate": 0.1, "scaling.window": "last"}, "new")
    assert found == {
        "family": "f",
        "about": "new",
        "draws_as": "gru",
        "network": {"a": 2},
        "scaling": {"window": "last"},
        "training": {"batch_size": 8, "learning_rate": 0.1},
    }
    assert tuned(own | {"draws_as": "older"}, "gru", {}, "new")["draws_as"] == "older"
    assert path_of("hidden_size") == ("network", "hidden_size") and path_of("scaling.per") == ("scaling", "per")


def test_every_shipped_search_holds_what_its_variant_has_and_has_four_to_seven_keys() -> None:
    plan = load_plan("params/nyc_weather.yaml", ["variants=[" + ", ".join(variant_names()) + "]"])
    searched = {name: one for name, one in plan.variants.items() if one.search}
    assert {"gru", "lstm", "tcn", "cnn", "segment_gru", "dense_relu", "sparse_tsf", "modern_tcn"} <= {*searched}
    for variant in searched.values():
        assert 4 <= len(variant.search) <= 7
        assert {"training.learning_rate", "training.weight_decay"} <= {*variant.search}
        assert "search" not in variant.run.model_dump()


def test_a_dimension_is_strict_about_types() -> None:
    with pytest.raises(ValidationError):
        Dimension(low="1", high=2)
