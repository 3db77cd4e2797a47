"""What is said of a search: in a line, in Markdown, as a table; its pictures take what they need from the trials."""

from params.load import load_plan
from params.search import Dimension
from tasks.report.tuning import Found, pictures_of, summary, table_of
from tasks.tune.space import Space
from tasks.tune.store import Search
from tasks.tune.trial import State, Trial

SPACE = Space(
    "gru", {"size": Dimension(low=1, high=9), "training.batch_size": Dimension(choices=(32, 64))},
    {"size": 2, "training.batch_size": 64},
)  # fmt: skip
TRIALS = [
    Trial(variant="gru", number=0, values=SPACE.start, state=State.FINISHED, score=2.0, seconds=1.5, identity="a"),
    Trial(variant="gru", number=1, values={"size": 3, "training.batch_size": 32}, state=State.FAILED, reason="diverged"),
    Trial(variant="gru", number=2, values={"size": 4, "training.batch_size": 32}, state=State.FINISHED, score=1.25),
    Trial(variant="gru", number=3, values={"size": 5, "training.batch_size": 32}, state=State.PRUNED, reason="late"),
    Trial(variant="gru", number=4, values={"size": 6, "training.batch_size": 32}),
]


def found(space: Space = SPACE, trials: list[Trial] = TRIALS) -> Found:
    run = load_plan("params/smoke.yaml", ["variants=[gru]"]).run
    search = Search(identity="abc", run="smoke", seed=3, ahead=4, measure="mae", folds=1)
    return Found(run, search, {"gru": space}, {"gru": trials}, {"gru": {}})


def test_the_words_on_a_trial_hold_it_against_the_variant_as_it_is() -> None:
    one = found()
    assert one.as_it_is("gru") == 2.0
    assert one.words(TRIALS[2]) == "Trial 2 of gru for smoke, seed 3: mae 1.25 on validation; gru as it is: 2"
    assert one.counted() == "4 trials: 2 finished, 1 pruned, 1 failed"
    free = found(Space("gru", SPACE.dimensions, None))
    assert free.as_it_is("gru") is None and free.words(TRIALS[2]).endswith("1.25 on validation")


def test_the_summary_has_the_best_first() -> None:
    lines = summary(found()).splitlines()
    assert lines[0] == "Search for smoke, MAE (temp) on validation, seed 3; 4 trials: 2 finished, 1 pruned, 1 failed."
    assert lines[2:] == [
        "**gru**, as it is: 2",
        "",
        "| trial | mae | size | training.batch_size |",
        "|---|---|---|---|",
        "| 2 | 1.25 | 4 | 32 |",
        "| 0 | 2 | 2 | 64 |",
    ]


def test_the_table_has_every_trial_with_its_values_and_its_reason() -> None:
    table = table_of(found())
    assert table["state"].to_list() == ["finished", "failed", "finished", "pruned", "running"]
    assert table["score"].to_list() == [2.0, None, 1.25, None, None]
    assert table["size"].to_list() == ["2", "3", "4", "5", "6"] and table["reason"].to_list()[1] == "diverged"


def test_its_pictures_are_drawn_also_where_nothing_has_finished() -> None:
    names = ["history.png", "importance.png", "parallel.png"]
    assert [one.name for one in pictures_of(found())] == names
    assert [one.name for one in pictures_of(found(trials=[]))] == names
