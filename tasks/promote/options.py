"""How a promotion judges; apart from the judging, since the command line and flows/api.py make it before slow imports."""

from dataclasses import dataclass

from params.evaluation import PromotionParams


@dataclass(frozen=True, kw_only=True)
class PromoteOptions:
    """How a promotion judges: a `version` instead of the challenger, a dry run, and gates that may be waived.

    These are: changed code, a version without a seal, a first champion whose lead over the best baseline may
    be chance.  `rules`: the thresholds, by default those of the version's params; `minutes` replaces their
    `timeout_minutes`; `reason`: a reason given by whoever decides.
    """

    version: str | None = None
    dry_run: bool = False
    allow_dirty: bool = False
    allow_chance: bool = False
    unsealed: bool = False
    rules: PromotionParams | None = None
    minutes: float | None = None
    reason: str = ""


PLAIN = PromoteOptions()  # the challenger, by its own rules
