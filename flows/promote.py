"""Promote: judge the challenger against the champion on unseen origins; move the alias if every gate passes.

Trigger: by hand (`python -m flows promote NAME`), or after `compare` in `retrain`.  Needs a Prefect API.
"""

from prefect import flow
from prefect.artifacts import create_markdown_artifact

from flows.runtime.lines import to_prefect
from flows.runtime.progress import Board
from flows.runtime.recorded import displayed
from flows.runtime.state import ready
from params.shown import discreet
from tasks.engine.choice import engine
from tasks.promote.decision import Decision, promote_challenger
from tasks.promote.options import PLAIN, PromoteOptions
from tasks.registry.versions import check_name
from tasks.tracking import connection


@flow(name="promote", flow_run_name="promote {name}", validate_parameters=False)
@discreet
def promote(name: str, options: PromoteOptions = PLAIN) -> Decision:
    """Returns the decision, the verdict of every gate and both scores."""
    check_name(name)
    home = ready()
    with Board(log=to_prefect()) as board, board.stage("judge the challenger"):
        connection.connect(home)
        decision = promote_challenger(name, home, engine().device(), options, board.say)
    for line in (
        *(f"{'passed' if result.passed else 'failed'}  {result.gate}  {result.words}" for result in decision.gates),
        decision.words,
    ):
        board.log(line)
    lines = [f"- {'passed' if result.passed else '**failed**'}: {result.gate}: {result.words}" for result in decision.gates]
    displayed(create_markdown_artifact, "\n".join([decision.words, "", *lines]), key="promotion", description=decision.words)
    return decision
