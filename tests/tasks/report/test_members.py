"""What the report says of the members of a greedy ensemble."""

from types import SimpleNamespace

from models.fit.settings import Learnt, Mix, Result, Status
from params.load import load_run
from tasks.report.members import PARTS, members_of

LEARNT = Learnt(Mix((1, 0, 3)), "origins", (Mix((1, 0, 1)),), 0.25, (0.5, None, 0.75))


def a_fit(label: str, learnt: Learnt | None) -> SimpleNamespace:
    """What a table needs of a fit."""
    result = Result(status=Status.FINISHED, learnt=learnt)
    return SimpleNamespace(label=label, result=result, members=("gru", "<b>", "drift"))


def test_it_says_who_counts_how_much_and_what_that_is_worth_where_it_was_not_learnt() -> None:
    run = load_run("params/smoke.yaml")
    text = members_of([a_fit("gru", None), a_fit("greedy", LEARNT)], {"greedy": 0.3125}, run)  # type: ignore[list-item]
    assert "greedy: MAE (temp) on validation 0.25 where its weights were learnt; held out, 0.3125" in text
    assert PARTS["origins"] in text and "<b>" not in text
    rows = [row.split("</tr>")[0] for row in text.split("<tr>")[2:]]
    cells = [[cell.split("<")[0] for cell in row.replace(' class="n"', "").split("<td>")[1:]] for row in rows]
    assert cells == [["drift", "75 %", "3", "0.75"], ["gru", "25 %", "1", "0.5"], ["&lt;b&gt;", "0 %", "0", "left out"]]
    assert members_of([a_fit("gru", None)], {}, run) == ""  # type: ignore[list-item]
