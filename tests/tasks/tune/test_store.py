"""Searches in tune.db: kept whole before and after a trial, found by run, the last started first; importance of keys."""

from pathlib import Path

import pytest
from optuna.study import StudyDirection

from params.errors import Unavailable
from params.search import Dimension
from tasks.tune.space import Space
from tasks.tune.store import Search, Store
from tasks.tune.trial import State, Trial

SPACE = Space("gru", {"size": Dimension(low=1, high=64), "how": Dimension(choices=("a", "b"))}, None)
SEARCH = Search(identity="abc", run="smoke", seed=3, ahead=4, measure="mae", folds=2)
pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def test_a_trial_comes_back_as_it_was_kept(store: Store, tmp_path: Path) -> None:
    search = store.begin(SEARCH, {"gru": SPACE})
    assert store.trials(search, "gru") == []
    first = store.add(search, SPACE, {"size": 8, "how": "b"}, 0)
    assert Store(tmp_path).trials(search, "gru") == [first] and not first.ended
    store.heard(search, first, 2, 0.75)
    assert store.trials(search, "gru")[0].rungs == {2: 0.75}
    store.heard(search, first, 5, 9.0)  # beyond what counts, once it has ended
    ended = [
        Trial(variant="gru", number=0, values=first.values, state=State.FINISHED, rungs={2: 0.75, 4: 0.5}, score=1.25,
              identity="i", run_id="r", seconds=2.5),
        Trial(variant="gru", number=1, values={"size": 9, "how": "a"}, state=State.PRUNED, rungs={2: 3.0}, reason="late"),
        Trial(variant="gru", number=2, values={"size": 10, "how": "a"}, state=State.FAILED, reason="diverged"),
    ]  # fmt: skip
    for one in ended:
        if one.number:
            store.add(search, SPACE, one.values, one.number)
        store.end(search, one)
    assert Store(tmp_path).trials(search, "gru") == ended


def test_a_search_of_the_same_identity_goes_on_with_the_time_that_it_has_spent(store: Store, tmp_path: Path) -> None:
    search = store.begin(SEARCH, {"gru": SPACE})
    store.spend(search, 12.5)
    again = Store(tmp_path).begin(Search(**{**vars(SEARCH), "ahead": 9}), {"gru": SPACE})
    assert (again.spent, again.ahead, again.seed) == (12.5, 4, 3) and again.began >= search.began


def test_the_searches_of_a_run_are_found_by_its_name_the_last_started_first(store: Store) -> None:
    spaces = {"gru": SPACE, "tcn": Space("tcn", SPACE.dimensions, None)}
    store.begin(SEARCH, spaces)
    store.begin(Search(**{**vars(SEARCH), "identity": "def"}), {"gru": SPACE})
    store.begin(Search(**{**vars(SEARCH), "identity": "ghi", "run": "other"}), {"gru": SPACE})
    assert [one.identity for one in store.searches("smoke")] == ["def", "abc"]
    store.begin(SEARCH, spaces)
    found = store.searches("smoke")
    assert [one.identity for one in found] == ["abc", "def"]
    assert store.variants(found[0]) == ["gru", "tcn"] and store.searches("none") == []


def test_a_search_that_was_cut_off_while_it_was_made_is_made_whole(store: Store) -> None:
    store._storage.create_new_study([StudyDirection.MINIMIZE], "abc/gru")
    assert store.searches("smoke") == []
    assert store.begin(SEARCH, {"gru": SPACE}).identity == "abc"


def test_a_database_that_cannot_be_read_is_told_by_its_address(tmp_path: Path) -> None:
    (tmp_path / "tune.db").write_text("no database, and longer than the header of one" * 30)
    with pytest.raises(Unavailable, match=r"tune\.db: the searches of tune cannot be read \(.*file is not a database"):
        Store(tmp_path)


def test_the_key_that_decides_is_the_important_one(store: Store) -> None:
    search = store.begin(SEARCH, {"gru": SPACE})
    for number in range(40):
        values = {"size": 1 + number * 13 % 64, "how": "ab"[number % 2]}
        trial = store.add(search, SPACE, values, number)
        if number == 6:
            assert store.importance(search, "gru") == {}
        score = abs(values["size"] - 30.0)
        store.end(search, Trial(**{**vars(trial), "state": State.FINISHED, "score": score}))
    found = store.importance(search, "gru")
    assert list(found) == ["size", "how"] and found["size"] > 0.9 and sum(found.values()) == pytest.approx(1)
    assert store.importance(search, "gru") == found
