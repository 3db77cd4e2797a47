"""Decides whether a challenger becomes champion: judges every gate, writes the ledger, moves the alias."""

import json
import shlex
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from models.fit.job import is_baseline
from params.shown import discreet
from tasks.promote import alias, gates
from tasks.promote.chain import Event
from tasks.promote.deadline import deadline
from tasks.promote.gates import OURS, THEIRS, GateResult
from tasks.promote.ledger import Draft
from tasks.promote.options import PLAIN, PromoteOptions
from tasks.promote.proof import reproduce
from tasks.promote.reload import reloads
from tasks.promote.scored import Figures, score, unlike
from tasks.registry.admitted import admit
from tasks.registry.load import Version, lost_file, opened
from tasks.registry.versions import CHALLENGER, CHAMPION, find, needed
from tasks.train.identity import Fingerprint

Say = Callable[[str], None]


class Outcome(StrEnum):
    """The outcome of a promotion; nothing was decided if the version was already champion or in a dry run."""

    PROMOTED = "promoted"
    REFUSED = "refused"
    UNCHANGED = "unchanged"
    WOULD_PROMOTE = "would promote"
    WOULD_REFUSE = "would refuse"


@dataclass(frozen=True)
class Decision:
    """The outcome of a promotion, each gate's result, and the champion now; `entry`: its ledger number."""

    name: str
    outcome: Outcome
    version: str
    champion: str | None
    gates: tuple[GateResult, ...] = ()
    entry: int | None = None
    scores: Figures | None = None

    @property
    def promoted(self) -> bool:
        """Whether the version was promoted."""
        return self.outcome in (Outcome.PROMOTED, Outcome.UNCHANGED, Outcome.WOULD_PROMOTE)

    @property
    def again(self) -> str:
        """The command that judges the same version again, with the options that waive its unmet gates."""
        options = [result.option for result in self.gates if result.option]
        return shlex.join(["python", "-m", "flows", "promote", self.name, "--version", self.version, *options])

    @property
    def words(self) -> str:
        """The same in a sentence."""
        holder = f"version {self.champion} stays champion" if self.champion else "there is no champion"
        return {
            Outcome.PROMOTED: f"Promoted: {self.name} version {self.version} is champion (entry {self.entry} of the ledger).",
            Outcome.REFUSED: f"Refused: {holder} (entry {self.entry} of the ledger).",
            Outcome.UNCHANGED: f"{self.name} version {self.version} is champion already: nothing was decided.",
            Outcome.WOULD_PROMOTE: "It would be promoted; this was a dry run, and nothing moved.",
            Outcome.WOULD_REFUSE: "It would be refused; this was a dry run, and nothing moved.",
        }[self.outcome]


def promote(name: str, home: Path, device: str, options: PromoteOptions = PLAIN, say: Say = lambda text: None) -> Decision:
    """Judges the challenger against the champion; moves the alias only if every gate is passed.

    Raises Overdue, deciding nothing, if the gates take too long.
    """
    with alias.held(name, home, say) as turn, ExitStack() as open_:
        registered, holder = needed(name, options.version or CHALLENGER), find(name, CHAMPION)
        before = None if holder is None else str(holder.version)
        if before == str(registered.version):
            return Decision(name, Outcome.UNCHANGED, before, before)
        challenger = open_.enter_context(opened(registered, servable=True, unsealed=options.unsealed))
        gone = None if holder is None else lost_file(holder)
        champion = None if holder is None or gone else open_.enter_context(opened(holder))
        results, figures = judge(challenger, champion, home, device, options, say)
        if gone:  # it can be neither served nor compared with
            results = (*results, GateResult("champion", True, f"version {before} has lost {gone}: nothing is left to beat"))
        passed = all(result.passed for result in results)
        if options.dry_run:
            outcome = Outcome.WOULD_PROMOTE if passed else Outcome.WOULD_REFUSE
            return Decision(name, outcome, challenger.version, before, results, None, figures)
        outcome, event = (Outcome.PROMOTED, Event.PROMOTED) if passed else (Outcome.REFUSED, Event.REFUSED)
        now, why = challenger.version if passed else before, gates.summary(results)
        why += f"; {figures.lead}" if passed and figures else ""
        draft = Draft(event, challenger.version, now, before, why, int(registered.creation_timestamp), options.reason)
        files = _files(results, figures, challenger, champion)
        after = alias.carry_out(turn, home, draft, files, figures.metrics() if figures else {})
        return Decision(name, outcome, challenger.version, after.champion, results, after.number, figures)


def _files(
    results: tuple[GateResult, ...], figures: Figures | None, challenger: Version, champion: Version | None
) -> dict[str, str]:
    """The files of a ledger entry: each gate's result, the scores, both versions' fingerprints."""
    prints: dict[str, Fingerprint | None] = {OURS: challenger.trained_on.fingerprint}
    if champion is not None:
        prints[THEIRS] = champion.facts.trained_on.fingerprint if champion.facts.trained_on else None
    contents = {
        "verdicts.json": [asdict(result) for result in results],
        "scores.json": figures.to_dict() if figures else {},
        "fingerprints.json": prints,
    }
    return {name: json.dumps(content, indent=1) for name, content in contents.items()}


def judge(
    challenger: Version, champion: Version | None, home: Path, device: str, options: PromoteOptions, say: Say
) -> tuple[tuple[GateResult, ...], Figures | None]:
    """Every gate's result, cheap ones first, and both scores on the same unseen origins.  Raises Overdue."""
    made = challenger.trained_on
    rules = options.rules or made.run.promotion
    results = [gates.checks(challenger.checked), gates.code(made.fingerprint, options.allow_dirty)]
    apart = unlike(challenger, champion)
    if apart:
        return (*results, GateResult("champion", False, apart)), None
    admit(challenger, home, judging=True)
    if champion is not None:
        admit(champion, home)
    with deadline(options.minutes or rules.timeout_minutes) as until:
        until.at("origins")
        say("scoring on the same unseen origins ...")
        scored, figures = score(challenger, champion, home, rules, options.allow_chance)
        until.at("bundle")
        say("loading the bundle in a fresh process ...")
        loaded = reloads(challenger, until.left)
        until.at("reproduction")
        baseline = is_baseline(challenger.trained_on.job.family)
        say("forecasting again from its fingerprint ..." if baseline else "training it again from its fingerprint ...")
        proof = reproduce(challenger, home, device, say, until.stop)
    return (*results, *scored, loaded, GateResult("reproduction", proof.same, proof.words)), figures


@task(cache_policy=NO_CACHE)
@discreet
def promote_challenger(name: str, home: Path, device: str, options: PromoteOptions, say: Say) -> Decision:
    """Scores challenger and champion on the same unseen origins; moves the alias if all gates are passed."""
    return promote(name, home, device, options, say)
