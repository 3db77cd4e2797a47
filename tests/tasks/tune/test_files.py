"""The file of a tuned variant: read back it is the trial's own fit; a file of somebody else stays."""

from dataclasses import replace
from pathlib import Path

import pytest

from models.data.panel import Split
from params.errors import UserError
from params.load import PARAMS, load_plan
from tasks.train.job import make_job
from tasks.tune import files
from tasks.tune.space import searched
from tasks.tune.trial import State, Trial

pytestmark = pytest.mark.slow

VALUES = {"hidden_size": 57, "num_layers": 2, "training.learning_rate": 1.234e-5, "training.weight_decay": 0.1}


@pytest.fixture
def plan(tmp_path, monkeypatch):
    """A plan of params in a folder of the test's own."""
    (tmp_path / "variants").mkdir()
    for name in ("base.yaml", "smoke.yaml", "variants/gru.yaml", "variants/ridge.yaml"):
        (tmp_path / name).write_text((PARAMS / name).read_text())
    for module in ("params.load", "tasks.tune.files"):
        monkeypatch.setattr(f"{module}.PARAMS", tmp_path)
    return load_plan(tmp_path / "smoke.yaml", ["variants=[gru]"])


def numbers(variant) -> dict:
    windows = variant.run.windows.window_params()
    return make_job(variant, 0, Path("panel"), windows, Split("rows", 5, 5), "cpu").numbers()


def trial(plan, **values) -> Trial:
    own = searched(plan)["gru"].start
    return Trial(variant="gru", number=7, values={**own, **VALUES, **values}, state=State.FINISHED, score=0.5)


def test_what_is_written_is_read_as_the_fit_of_the_trial(plan, tmp_path) -> None:
    space, one = searched(plan)["gru"], trial(plan)
    path = files.file_of("gru")
    assert path == tmp_path / "variants" / "gru_tuned.yaml" and files.file_of("gru", 2).stem == "gru_tuned_3"
    written = files.best_as_file(plan, space, one, path, "words")
    lines = path.read_text().splitlines()
    assert lines[:2] == [files.FIRST, "# words"] and "draws_as: gru" in lines
    read = load_plan(tmp_path / "smoke.yaml", ["variants=[gru_tuned]"]).variants["gru_tuned"]
    assert numbers(read) == numbers(written) and read.draws_as == "gru" and not read.search
    tried = plan.tuned("gru", one.label, space.changed(one.values))[0]
    assert numbers(read) == numbers(tried)
    assert numbers(read)["training"] | {"learning_rate": 0, "weight_decay": 0} == (
        numbers(plan.variants["gru"])["training"] | {"learning_rate": 0, "weight_decay": 0}
    )
    before = path.read_bytes()
    files.best_as_file(plan, space, one, path, "words")
    assert path.read_bytes() == before


def test_the_values_that_the_variant_has_are_its_own_fit(plan) -> None:
    space = searched(plan)["gru"]
    assert numbers(plan.tuned("gru", "gru-t0", space.changed(space.start))[0]) == numbers(plan.variants["gru"])


def test_a_file_that_no_search_wrote_stays(plan, tmp_path) -> None:
    space, path = searched(plan)["gru"], files.file_of("gru")
    for content in ("family: recurrent\n", "", f"family: recurrent\n{files.FIRST}\n"):
        path.write_text(content)
        with pytest.raises(UserError, match=r"gru_tuned.yaml was not written by tune and stays"):
            files.best_as_file(plan, space, trial(plan), path, "words")
        assert path.read_text() == content
    path.write_text(f"{files.FIRST}\nold\n")
    files.best_as_file(plan, space, trial(plan), path, "words")
    assert "old" not in path.read_text()


@pytest.mark.parametrize(
    ("name", "told"), [("A.yaml", "a variant is called by"), ("a.json", "must end in .yaml"), ("no/a.yaml", "no folder")]
)
def test_a_file_that_is_no_place_for_a_variant_is_refused(tmp_path, name: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        files.check_free(tmp_path / name)


def test_values_that_a_run_may_not_have_are_refused(plan) -> None:
    one = replace(trial(plan), values={**trial(plan).values, "training.learning_rate": -1.0})
    with pytest.raises(UserError, match=r"training\.learning_rate"):
        files.best_as_file(plan, searched(plan)["gru"], one, files.file_of("gru"), "words")
    assert not files.file_of("gru").exists()
