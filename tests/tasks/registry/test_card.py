"""The model card: every score that there is, nothing of the data as markup."""

from tasks.registry.card import card
from tasks.train.identity import Provenance
from tasks.validate.verdict import Finding, Verdict

EVIL = "<script>x</script> [a](b) *c* `d`\n# e"


def test_a_card_tells_scores_limits_and_the_way_back_and_the_data_stay_text() -> None:
    facts = {"rows": 10, "series": 1, "first": "2024-01-01", "last": "2024-02-01"}
    finding = Finding("gaps", "warn", False, None, [EVIL], 0.5, None, 0.1, "rows are missing", "share")
    prints = {"data": "d" * 64, "revision": "r" * 40, "clean": False, "torch": "2.13", "python": "3.11", "device": "cpu"}
    made = {
        "scores": {"test_mae": 1.25, "test_crps": None},
        "fingerprint": prints,
        "naive": "drift",
        "newest_time": "2024-02-01",
    }
    about = Provenance(Verdict(True, [finding], [], [], facts, []), "python -m flows compare x.yaml", prints)
    model = {
        "name": "story", "variant": "gru", "family": "recurrent", "columns": {"y": EVIL}, "ids": ["a"], "frequency": "1h",
        "windows": {"horizon": 6, "gap": 2, "features": {EVIL: {"lookback": 5}}, "calendar": [], "future": ["holiday"]},
        "trained_on": made | {"seed": 3, "weights": "w" * 64},
    }  # fmt: skip
    text = card(model, about, {"half_life": 4, "receptive_field": 5, "warning": "rows 4 to 5 move nothing"})
    for word in (
        "| MAE | 1.25 |",
        "2 rows after the last one known",
        "holiday",
        "best naive: drift",
        "rows 4 to 5 move nothing",
    ):
        assert word in text
    assert "CRPS" not in text and "(with changed files)" in text and "half-life 4 rows" in text
    assert "<script" not in text and "[a](b)" not in text and "\n# e" not in text
    assert "not measured" in card(model, about, None)
    assert "Two sets of weights" not in text
    for training, words in (({"refit_epochs": 4}, "for 4 epochs"), ({"refit_penalty": 10.0}, "with the penalty 10")):
        refit = {"refit": {"weights": "r" * 64, "job": {"training": training}}}
        both = card(model | {"trained_on": model["trained_on"] | refit}, about, None)
        assert words in both and "refitted.pt2" in both and "r" * 64 in both and "forecast --judged" in both
    members = [{"training": {"refit_epochs": 1}}, {"training": {"refit_epochs": 1}}, {"training": {"refit_penalty": 0.1}}]
    refit = {"refit": {"weights": "r" * 64, "job": {"training": {}, "members": members}}}
    assert "on all rows, for 1 epoch; with the penalty 0.1," in card(
        model | {"trained_on": model["trained_on"] | refit}, about, None
    )
