"""The rule for micro-batches."""

from tasks.train.micro_batches import parts_by_rule


def test_the_rule_for_micro_batches_is_whole_numbers_and_names_what_it_was_measured_for() -> None:
    """At lookback 168 and batches of 256, as it was found: parts of 16 windows at 128 hidden units, of 65 at 32."""
    lstm = {"cell": "lstm", "hidden_size": 128}
    assert parts_by_rule("recurrent", lstm, 168, 256) == 16
    assert parts_by_rule("recurrent", lstm | {"hidden_size": 32}, 168, 256) == 4
    assert parts_by_rule("recurrent", lstm, 168, 64) == 4
    assert parts_by_rule("recurrent", lstm, 10_000, 256) == 16  # never fewer than 16 windows
    assert parts_by_rule("recurrent", lstm, 168, 24) == 1
    assert parts_by_rule("recurrent", lstm | {"hidden_size": 32}, 168, 96) == 2
    assert parts_by_rule("recurrent", lstm, 1, 256) == 1
    assert parts_by_rule("recurrent", {"cell": "gru", "hidden_size": 128}, 168, 256) == 1
    assert parts_by_rule("recurrent", {"cell": "elman", "hidden_size": 128}, 168, 256) == 1
    assert parts_by_rule("tcn", {"channels": 128}, 168, 256) == 1
