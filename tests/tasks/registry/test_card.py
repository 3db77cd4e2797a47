"""The model card: every score that there is, nothing of the data as markup."""

from dataclasses import replace
from importlib.metadata import version
from typing import Any

import pytest

from models.data.window import FeatureWindow, WindowParams
from models.memory_card import MemoryCard
from tasks.evaluate.importance import Driver, Effect, Importance, LagEffect
from tasks.evaluate.permute import Role
from tasks.registry.card import card, kind_of
from tasks.registry.facts import Fallback, Refitted
from tasks.report.verdict import Answer, Conclusion, Mark
from tasks.train.identity import Provenance
from tasks.validate.verdict import Finding, Severity, Verdict

EVIL = "<script>x</script> [a](b) *c* `d`\n# e"


def test_a_card_tells_scores_limits_and_the_way_back_and_the_data_stay_text(house: Any) -> None:
    extent = {"rows": 10, "series": 1, "first": "2024-01-01", "last": "2024-02-01"}
    finding = Finding("gaps", Severity.WARN, False, None, [EVIL], 0.5, None, 0.1, "rows are missing", "share")
    made = house.made(scores={"test_mae": 1.25, "test_crps": None}, naive="drift", baseline="theta", seed=3, weights="w" * 64)
    made = replace(
        made, fingerprint=made.fingerprint | {"revision": "r" * 40, "clean": False, "changed": {"models/x.py": "b" * 40}}
    )
    about = Provenance(Verdict(True, [finding], [], [], extent, []), "python -m flows compare x.yaml", made.fingerprint)
    windows = WindowParams(6, {EVIL: FeatureWindow(5)}, gap=2, future=("holiday",))
    facts = house.facts(name="story", variant="gru", columns={"y": EVIL}, windows=windows, trained_on=made)
    text = card(facts, made, about, MemoryCard([4.0, 4.0, 4.0, 0.01, 0.0], half_life=2, receptive_field=5, rows=5))
    for word in (
        "| MAE | 1.25 |",
        "2 rows after the last one known",
        "holiday",
        "best baseline: theta, best naive: drift",
        "Memory: rows 4 to 5 before the cutoff",
        f"at revision {'r' * 40} (models/x.py changed)",
        "seed 3",
        f"- weights {'w' * 64}",
        "half-life 2 rows",
    ):
        assert word in text
    assert "CRPS" not in text
    assert "<script" not in text and "[a](b)" not in text and "\n# e" not in text
    assert "not measured" in card(facts, made, about, None)
    assert "Two sets of weights" not in text and "## Verdict" not in text
    marks = (Mark("more than chance", Answer.NO, f"p 0.3 of {EVIL}"),)
    text = card(facts, made, about, None, concluded=Conclusion("gru", "Use gru: it is the best.", marks))
    assert "## Verdict\n**Use gru: it is the best.**\n\n- more than chance: **no**; p 0.3 of &lt;script>x" in text
    assert "\n# e" not in text


def test_a_card_says_what_each_validation_range_said(house: Any) -> None:
    scores = {"val_mae": 3.0, "val_mae_fold_1": 2.0, "val_mae_fold_2": None, "val_mae_fold_3": 4.0, "val_mae_fold_spread": 1.4}
    made, extent = house.made(scores=scores), {"rows": 10, "series": 1, "first": "a", "last": "b"}
    about = Provenance(Verdict(True, [], [], [], extent, []), "x", made.fingerprint)
    assert "MAE on the 3 validation ranges that chose it, the oldest first, each trained for: 2, none, 4." in card(
        house.facts(), made, about, None
    )
    assert "validation ranges" not in card(house.facts(), house.made(), about, None)


def test_a_card_says_for_how_long_a_refit_was_trained(house: Any) -> None:
    made = house.made()
    about = Provenance(
        Verdict(True, [], [], [], {"rows": 10, "series": 1, "first": "a", "last": "b"}, []), "x", made.fingerprint
    )
    four, one = (made.job.with_training(refit_epochs=epochs) for epochs in (4, 1))
    ridge = made.job.with_training(refit_penalty=10.0)
    for job, words in (
        (four, "for 4 epochs"),
        (ridge, "with the penalty 10"),
        (replace(four, members=(one, one, ridge)), "on all rows, for 1 epoch; with the penalty 10,"),
        (replace(four, members=(one, replace(four, family="theta", network={"season": 24}))), "on all rows, for 1 epoch,"),
    ):
        refit = Refitted(job=job, weights="r" * 64, fingerprint=made.fingerprint, identity="", seen_until=0)
        both = card(house.facts(), replace(made, refit=refit), about, None)
        assert words in both and "refitted.pt2" in both and "r" * 64 in both and "forecast --judged" in both
        assert "the scores and the gates are theirs, and so are the errors that the intervals are made from" in both


def test_a_card_says_how_its_intervals_are_made_and_what_the_choice_rests_on(house: Any) -> None:
    made = house.made()
    about = Provenance(
        Verdict(True, [], [], [], {"rows": 10, "series": 1, "first": "a", "last": "b"}, []), "x", made.fingerprint
    )
    plain = house.calibrated([1.0] * 4)
    text = card(house.facts(calibrated=plain), made, about, None)
    assert "- quantiles from 0.05 to 0.95, from errors around its point forecast on validation: the method split (" in text
    assert "not calibrated on" in text and ": split 2.5, naive 3\n" in text and "the unit that its own rows" not in text
    scores = {"split": 9.0, "cqr-spread": 2.25, "naive": 3.0, "spread": 2.5, "cqr": 4.0, "cqr-naive": 5.0}
    own = replace(plain, calibration=plain.calibration._replace(own=True, ratio=1.5), method="cqr-spread", scores=scores)
    text = card(house.facts(calibrated=own), made, about, None)
    assert "from quantiles of its own on validation, in units of each series: the method cqr-spread (" in text
    assert ": cqr-spread 2.25, spread 2.5, naive 3, cqr 4 and 2 more\n" in text and "the unit that its own rows" in text
    forced = replace(plain, scores={})
    assert "not calibrated on" not in card(house.facts(calibrated=forced), made, about, None)


def test_a_card_of_a_baseline_says_what_it_reads_and_names_no_network(house: Any) -> None:
    made = replace(house.made(), baseline="theta")
    about = Provenance(
        Verdict(True, [], [], [], {"rows": 10, "series": 1, "first": "a", "last": "b"}, []), "x", made.fingerprint
    )
    drift = Fallback(name="drift", arguments={"season": 24}, calibrated=house.calibrated([1.0] * 4))
    facts = house.facts(variant="theta", family="theta", network={"season": 24, "rows": 500}, fallbacks=(drift,))
    text = card(facts, made, about, None)
    for word in (
        "A theta baseline that forecasts temp 4 steps of 1h ahead",
        "- from the history of each series by itself, of the newest 500 rows, with a season of 24 rows",
        "A series with less is forecast by drift: the column model says which",
        "forecasts again and compares",
        f"- numpy, statsforecast {version('statsforecast')}, Python",
        f"- forecasts {made.weights}",
    ):
        assert word in text, text
    for word in ("## Memory", "torch", "weights", "seed", "are scaled"):
        assert word not in text
    network = card(house.facts(fallbacks=(drift,)), made, about, None)
    assert "are scaled" in network and "is forecast by drift" in network and "statsforecast" not in network
    assert "statsforecast" in card(house.facts(fallbacks=(replace(drift, name="theta"),)), made, about, None)


@pytest.mark.parametrize(
    ("family", "words"),
    [("ridge", "A ridge regression"), ("linear", "A linear model"), ("ensemble", "An ensemble"), ("tcn", "A tcn network"),
     ("recurrent", "A recurrent network"), ("attention", "An attention network"), ("lstm", "An lstm network"),
     ("elman", "An elman network"), ("gru", "A gru network"), ("mlp", "An mlp network"),
     ("encoder_decoder", r"An encoder\_decoder network"), ("theta", "A theta baseline"), ("auto_ets", "An auto ets baseline"),
     ("seasonal_naive", "A seasonal naive baseline")],
)  # fmt: skip
def test_what_a_version_is_has_its_article_and_a_regression_is_no_network(family: str, words: str) -> None:
    assert kind_of(family) == words


def test_a_card_says_how_much_each_member_counts(house: Any) -> None:
    made = house.made()
    about = Provenance(
        Verdict(True, [], [], [], {"rows": 10, "series": 1, "first": "a", "last": "b"}, []), "x", made.fingerprint
    )
    text = card(house.facts(), replace(made, counts={"elman": 1, "ridge": 3, "last_value": 0, "cnn": 0}), about, None)
    assert "| ridge | 75 % |\n| elman | 25 % |\n" in text and "Looked at and not taken: last\\_value, cnn." in text
    assert "## Members" not in card(house.facts(), made, about, None)


def test_it_says_what_drives_the_model_and_nothing_of_another(house: Any) -> None:
    effect = Effect(0.5, 0.1, (0.5,))
    drivers = (Driver("y", Role.OWN, effect, (LagEffect(1, 3, effect),)), Driver("a|<b>", Role.AHEAD, effect))
    made = house.made()
    found = Importance(model=made.label, drivers=drivers, windows=84, draws=1, slot=24, over="origins")
    extent = {"rows": 10, "series": 1, "first": "2024-01-01", "last": "2024-02-01"}
    about = Provenance(Verdict(True, [], [], [], extent, []), "x", made.fingerprint)
    text = card(house.facts(), made, about, None, found)
    assert "## What drives the forecast" in text and "84 windows" in text
    assert "| temp | own past | 50.0 % | 10.0 % | 1 to 3 |" in text and "| a\\|&lt;b> | ahead | 50.0 % | 10.0 % |  |" in text
    assert "What drives" not in card(house.facts(), made, about, None, replace(found, model="another"))
    assert "What drives" not in card(house.facts(), made, about, None)
