"""The top of the report, which a reader decides by: four marks, one picture to choose in, the best rows."""

from collections.abc import Mapping

from models.data.panel import Data
from params.schema import RunParams
from tasks import pages
from tasks.compare.compare import Comparison
from tasks.pages import Html
from tasks.report import leaderboard as report
from tasks.report.chooser import Chooser, chooser_of
from tasks.report.columns import NARROW
from tasks.report.pictures import still
from tasks.report.verdict import Conclusion, marks_of

SCRIPT = "chooser.js"
ROWS = 5  # of the leaderboard
Drawn = tuple[bytes, bytes | None]  # a picture's PNG, and its version for a phone


def top_of(comparison: Comparison, run: RunParams, verdict: Conclusion, data: Data, pictures: Mapping[str, Drawn]) -> Html:
    """The marks, the forecasts of a series to choose, and the best rows of the leaderboard."""
    marks = marks_of(verdict)
    shown, best = chooser_of(comparison, run, data), report.to_html(comparison.board, NARROW, run.evaluation.choose_by, ROWS)
    if shown is None:
        return marks + best
    caption = f"{shown.series[shown.start].name}: forecasts and what came"
    instead = pages.figure(caption, *pictures[still(comparison)])
    return marks + pages.chooser(shown.to_dict(), shown.words(), _legend(shown), instead) + best


def _legend(shown: Chooser) -> dict[str, str]:
    """What each line is, by its CSS class."""
    other = {"other": shown.other} if shown.other != shown.model else {}
    band = {"band": f"{shown.level} % interval of {shown.model}"} if shown.level else {}
    return {"actual": f"actual {shown.unit}", "model": shown.model, **other, **band}
