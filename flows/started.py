"""Starts flows for the command line and flows/api.py: checks first, with a Prefect server meanwhile."""

from pathlib import Path
from typing import TYPE_CHECKING

from flows.runtime.begin import prefect_api

if TYPE_CHECKING:
    from flows.compare import Comparison
    from params.load import Plan
    from tasks.promote.decision import Decision
    from tasks.promote.options import PromoteOptions


def run_comparison(home: Path, plan: "Plan", fresh: bool = False, that_fit: bool = False) -> "Comparison":
    """Runs a comparison of a plan; `that_fit`: without variants that do not fit its windows, each named."""
    from flows.runtime.progress import Board

    with prefect_api(home) as server:
        with Board() as board, board.stage("start"):
            from tasks.train.check import check_plan, only_those_that_fit

            if that_fit:
                plan = only_those_that_fit(plan, board.say)
            check_plan(plan)
            from flows.compare import compare
            from flows.runtime.recorded import recorded

            server.wait()
        return recorded(compare, str(plan.path), list(plan.settings), fresh, plan)


def run_promotion(home: Path, name: str, options: "PromoteOptions") -> "Decision":
    """Judges the challenger of a name, or another version, and moves the champion if every gate passes."""
    from flows.runtime.progress import Board

    with prefect_api(home) as server:
        with Board() as board, board.stage("start"):
            from flows.promote import promote
            from flows.runtime.recorded import recorded

            server.wait()
        return recorded(promote, name, options)
