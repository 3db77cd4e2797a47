"""What flows/api.py returns of comparisons and champions: named facts, and how a notebook shows them."""

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tasks.compare.board import Board as Scores
    from tasks.load.memory import Frame
    from tasks.report.told import Told
    from tasks.report.verdict import Conclusion

WIDTH = 100  # characters of a line of a board's text


@dataclass(frozen=True, repr=False)
class Board:
    """The outcome of a comparison.  `print(board)` shows what the command line shows, a notebook a table.

    `rows`: one row per variant and baseline, the best on validation first; the columns are those of
    `leaderboard.csv` (name, kind, val_mae, test_mae, test_skill ..., null where unknown).  `chosen`: the name
    of the variant or baseline that validation chose, None if nothing has a score.  `verdict`: why, in a
    `sentence`, and four `marks`, each with `name`, `answer` and `words`.  `remarks`: the lines printed below
    the verdict.  `version`: of the model that is registered under `name`, None if nothing is.  `run`: the id
    of the MLflow run.  `unchanged`: whether an equal comparison was there already, so that nothing was
    trained.  `text`, `html`: the whole as a terminal and a notebook show it.
    """

    name: str
    rows: "Frame" = field(compare=False)
    chosen: str | None
    verdict: "Conclusion"
    remarks: tuple[str, ...]
    version: str | None
    run: str
    unchanged: bool
    text: str = field(compare=False)
    html: str = field(compare=False)

    @property
    def sentence(self) -> str:
        """Which model to use and why, in one sentence."""
        return self.verdict.sentence

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return self.html


@dataclass(frozen=True, kw_only=True)
class Champion:
    """The version that is champion of a name.

    `variant`, `family`: what it is; `horizon`: steps of `frequency` that it forecasts; `features`: the
    columns that it reads besides the keys and the target, in order; `columns`: what its own table calls
    unique_id, ds and y; `scores`: by the names of the leaderboard, None where unknown; `newest`: the time of
    the newest row that it was made from; `run`: the id of its MLflow run.
    """

    name: str
    version: str
    variant: str
    family: str
    horizon: int
    frequency: str | int
    features: tuple[str, ...]
    columns: Mapping[str, str | tuple[str, ...] | None]
    scores: Mapping[str, float | None]
    newest: str
    run: str


def board_of(name: str, run: str, version: str | None, unchanged: bool) -> Board:
    """The board of a finished comparison, from its run in MLflow."""
    from flows.verbs.runs import board_in, leaderboard_of
    from tasks.report import leaderboard as report

    scores, conclusion = board_in(leaderboard_of(name, run))
    return Board(
        name=name,
        rows=report.frame(scores.rows),
        chosen=scores.chosen.name if scores.chosen else None,
        verdict=conclusion.verdict,
        remarks=tuple(conclusion.lines()),
        version=version,
        run=run,
        unchanged=unchanged,
        text=_text(scores, conclusion),
        html=_html(scores, conclusion),
    )


def _text(scores: "Scores", conclusion: "Told") -> str:
    """The leaderboard and its conclusion as the command line prints them."""
    from rich.console import Console

    from tasks.report.leaderboard import to_table

    out = io.StringIO()
    console = Console(width=WIDTH, file=out, color_system=None, force_jupyter=False)
    console.print(to_table(scores, WIDTH, conclusion.choose_by))
    table = (line.rstrip() for line in out.getvalue().splitlines())
    return "\n".join([*table, "", *conclusion.verdict.lines(WIDTH), *conclusion.lines()])


def _html(scores: "Scores", conclusion: "Told") -> str:
    """The conclusion, then the leaderboard, as HTML with every text escaped."""
    from tasks.pages import bullets, paragraph
    from tasks.report.columns import NARROW
    from tasks.report.leaderboard import remarks, to_html
    from tasks.report.verdict import marks_of

    first = paragraph(conclusion.verdict.sentence) + marks_of(conclusion.verdict) + bullets(conclusion.lines())
    return str(first + to_html(scores, NARROW, conclusion.choose_by) + bullets(remarks(scores, conclusion.choose_by)))


def champion_of(name: str) -> Champion | None:
    """The champion of a name, checked against its seal; None if there is none."""
    from tasks.registry.load import opened
    from tasks.registry.versions import CHAMPION, find

    registered = find(name, CHAMPION)
    if registered is None:
        return None
    with opened(registered) as version:
        bundle, training = version.facts, version.facts.trained_on
        windows = bundle.windows
        covariates = (*(one for one in windows.features if one != "y"), *windows.future, *windows.static)
        return Champion(
            name=name,
            version=version.version,
            variant=bundle.variant,
            family=bundle.family,
            horizon=windows.horizon,
            frequency=bundle.frequency,
            features=tuple(dict.fromkeys(covariates)),
            columns={key: tuple(one) if isinstance(one, list | tuple) else one for key, one in bundle.columns.items()},  # type: ignore[misc]
            scores=dict(training.scores) if training else {},
            newest=training.newest_time if training else "",
            run=version.run_id,
        )
