"""A promotion as a step of a flow: the decision of `tasks/promote/decision.py`, JSON-ready; decides nothing itself."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from params.schema import PromotionParams
from tasks.promote.decision import promote


@task(cache_policy=NO_CACHE)
def promote_challenger(
    name: str,
    home: Path,
    device: str,
    number: str | None,
    dry_run: bool,
    allow_dirty: bool,
    say: Callable[[str], None],
    rules: dict[str, Any] | None = None,
    minutes: float | None = None,
) -> dict[str, Any]:
    """Scores challenger and champion on the same unseen origins and moves the alias if every gate is passed."""
    own = PromotionParams(**rules) if rules else None
    found = promote(name, home, device, number, dry_run, allow_dirty, say, own, minutes)
    return {
        "decision": found.decision,
        "promoted": found.promoted,
        "version": found.version,
        "champion": found.champion,
        "number": found.number,
        "verdicts": [one.to_dict() for one in found.verdicts],
        "scores": found.scores,
    }
