"""What is searched of a variant in a run: the values that it has, what a setting holds fast, ends that cannot be built."""

import pytest

from params.errors import UserError
from params.load import load_plan, variant_names, variants_setting
from tasks.tune.space import searched, those_with_search

pytestmark = pytest.mark.slow

SMOKE = "params/smoke.yaml"


def space(variant: str, *settings: str):
    return searched(load_plan(SMOKE, [f"variants=[{variant}]", *settings]))[variant]


def test_the_first_trial_takes_what_the_variant_has_by_its_file_the_run_and_its_constructor() -> None:
    found = space("gru")
    assert found.start == {
        "hidden_size": 32,  # by its file
        "num_layers": 1,  # by the constructor
        "training.learning_rate": 3e-3,  # by the run
        "training.weight_decay": 1e-4,  # by base.yaml
        "training.batch_size": 64,
    }
    assert found.changed(found.start) == {} and found.changed({**found.start, "num_layers": 2}) == {"num_layers": 2}


def test_every_shipped_search_begins_with_what_the_variant_has_and_can_be_built_at_its_ends() -> None:
    plan = those_with_search(load_plan(SMOKE, [variants_setting(variant_names())]))
    found = searched(plan)
    assert len(found) >= 8
    for one in found.values():
        assert one.start is not None, one.variant


def test_a_variant_whose_own_values_lie_outside_of_its_search_has_no_start() -> None:
    plan = load_plan(SMOKE, ["variants=[sparse_tsf]", "evaluation.season=24"])
    assert searched(plan)["sparse_tsf"].start is not None
    own = plan.layers.own("sparse_tsf")[0]
    own["training"] = {**own["training"], "learning_rate": 0.9}
    found = searched(plan.only(["sparse_tsf"]))["sparse_tsf"]
    assert found.start is None
    assert found.changed({"training.learning_rate": 0.9}) == {"training.learning_rate": 0.9}


def test_a_setting_holds_a_key_fast() -> None:
    found = space("gru", "training.learning_rate=0.002", "network.hidden_size=8")
    assert found.fixed == ("hidden_size", "training.learning_rate")
    assert {*found.dimensions} == {"num_layers", "training.weight_decay", "training.batch_size"}
    with pytest.raises(UserError, match="gru: --set holds fast all"):
        own = [f"training.{name}=8" for name in ("learning_rate", "weight_decay", "batch_size")]
        space("gru", *own, "network={hidden_size: 8, num_layers: 1}")


def test_a_variant_without_a_search_is_refused_by_name_with_those_that_have_one() -> None:
    with pytest.raises(UserError, match=r"ridge: no `search:` in params/variants/ridge.yaml; those that have: cnn, .*gru"):
        space("ridge")
    with pytest.raises(UserError, match=r"no variant of this run has a `search:` section; those that have: cnn"):
        those_with_search(load_plan(SMOKE, ["variants=[ridge, elman]"]))
    assert list(those_with_search(load_plan(SMOKE)).variants) == ["cnn"]


def test_ends_that_cannot_be_built_are_refused_with_the_key_and_the_value() -> None:
    plan = load_plan(SMOKE, ["variants=[gru]"])
    search = plan.layers.own("gru")[0]["search"]
    for key, dimension, told in (
        ("hiden_size", {"low": 1, "high": 2}, r"gru.yaml: search: hiden_size: 1 cannot be tried"),
        ("hidden_size", {"low": 0, "high": 2}, r"gru.yaml:5: search: hidden_size: 0 cannot be tried"),
        ("training.learning_rate", {"low": -1.0, "high": 2.0}, "learning_rate"),
    ):
        plan.layers.own("gru")[0]["search"] = {**search, key: dimension}
        with pytest.raises(UserError, match=told):
            searched(plan.only(["gru"]))


def test_errors_in_scaled_units_prune_only_where_all_are_scaled_alike() -> None:
    assert space("gru").column == "val_mae"
    plan = load_plan(SMOKE, ["variants=[gru]", "training.monitor=loss"])
    assert searched(plan)["gru"].column == "val_loss"
    own = plan.layers.own("gru")[0]
    own["search"] = {**own["search"], "scaling.window": {"choices": ["last", "revin"]}}
    assert searched(plan.only(["gru"]))["gru"].column == "val_mae"
