"""Variants are checked before any data is read: network arguments for all, and those of one."""

import pytest

from params.errors import UserError
from params.load import load_run, load_variant
from tasks.train.check import check_shared, check_variant, own_network

RUN = "params/nyc_weather.yaml"


def test_a_network_argument_for_all_goes_to_those_that_take_it() -> None:
    settings = ["network.hidden_size=8"]
    ridge, gru = (load_variant(name, RUN, settings) for name in ("ridge", "gru"))
    assert own_network(ridge) == {}
    assert own_network(gru) == {"cell": "gru", "hidden_size": 8}
    windows = load_run(RUN).windows.window_params()
    assert check_variant(gru, windows) < check_variant(load_variant("gru", RUN), windows)
    check_shared([ridge, gru])
    with pytest.raises(UserError, match="no variant of this run takes it"):
        check_shared([ridge])


def test_what_a_variant_itself_says_must_fit() -> None:
    gru = load_variant("gru", RUN)
    wrong = gru.model_copy(update={"network": {"cell": "gru", "hidden": 3}})
    with pytest.raises(UserError, match=r"params/variants/gru.yaml.*network.hidden: family recurrent has no such argument"):
        check_variant(wrong, load_run(RUN).windows.window_params())
