"""Decisions on the champion of a name: promote, roll back, history; every one in the ledger before the alias moves.

All of it happens under a lock of the name that the kernel frees however its holder ends.  The ledger is the truth: an alias
that differs from it (a kill between the two writes) is mended by whoever comes next.  Any error leaves the alias as it is.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from models.data.panel import Split
from params.errors import UserError
from params.schema import PromotionParams, RunParams
from tasks.compare import scores, significance
from tasks.locks import lock
from tasks.promote import gates, ledger
from tasks.promote.deadline import deadline
from tasks.promote.gates import OURS, THEIRS, Verdict
from tasks.promote.proof import check_whole, reproduce
from tasks.promote.reload import reloads
from tasks.registry.load import CHAMPION, Version, check_name, find, needed, opened
from tasks.registry.unseen import common_origins, forecast_frames, panel_of, windows_of
from tasks.registry.versions import CHALLENGER
from tasks.tracking import connection, logs

Say = Callable[[str], None]


@dataclass(frozen=True)
class Decision:
    """What came of a promotion: `decision` promoted, refused, unchanged (it is champion already) or, in a dry run, would."""

    decision: str
    version: str
    champion: str | None
    verdicts: tuple[Verdict, ...]
    number: int | None
    scores: dict[str, Any]

    @property
    def promoted(self) -> bool:
        """Whether the answer is yes."""
        return self.decision in ("promoted", "unchanged", "would promote")


@contextmanager
def held(name: str, home: Path) -> Iterator[None]:
    """One decision on a name at a time; mends what a killed one left.

    Raises Held where another is at it, UserError for what is no name and where the tracking server does not answer.
    """
    check_name(name)
    told = f"the champion of {name} is who it was, or who the ledger says: start the same command again once it is back"
    with lock(home, f"promote-{name}", wait=False), connection.answered(told):
        ledger.clear(name)
        mend(name, home)
        yield


def mend(name: str, home: Path) -> str | None:
    """Sets the alias to what the ledger says; returns what it did, if anything.

    An alias that somebody set by hand, without a ledger, stays.  A champion that was deleted is none, and an entry says so.
    """
    there = ledger.entries(name)
    if not there:
        return None
    wanted, found = ledger.champion(there), find(name, CHAMPION)
    now = None if found is None else str(found.version)
    if wanted == now:
        return None
    if wanted is not None and find(name, wanted) is None:
        ledger.close_entry(ledger.open_entry(name, home, "gone", wanted, None, f"version {wanted} was deleted", {}))
        wanted = None
        if now is None:
            return f"version {ledger.champion(there)} was champion and was deleted: there is none now"
    _set_alias(name, wanted)
    return f"the alias champion was {now or 'nobody'} and the ledger says {wanted or 'nobody'}: mended"


def undecided(name: str) -> bool:
    """Whether the challenger waits for a decision: it is not champion, and no entry is about it."""
    found = find(name, CHALLENGER)
    if found is None:
        return False
    number, there = str(found.version), ledger.entries(name)
    return number != ledger.champion(there) and all(entry.version != number for entry in there)


def _set_alias(name: str, version: str | None) -> None:
    """Moves the alias and reads it back.  Raises RuntimeError where it is not there."""
    client = connection.client()
    if version is None:
        client.delete_registered_model_alias(name, CHAMPION)
    else:
        client.set_registered_model_alias(name, CHAMPION, version)
    found = find(name, CHAMPION)
    if (None if found is None else str(found.version)) != version:
        raise RuntimeError(f"{name}: the alias champion was set to {version} and is {found and found.version}")


def promote(
    name: str,
    home: Path,
    device: str,
    number: str | None = None,
    dry_run: bool = False,
    allow_dirty: bool = False,
    say: Say = lambda text: None,
    rules: PromotionParams | None = None,
    minutes: float | None = None,
) -> Decision:
    """Holds the challenger (or version `number`) against the champion; moves the alias only if every gate is passed.

    `rules`: the thresholds, by default those of the challenger's own params; `minutes` in place of their `timeout_minutes`.
    Raises Overdue, and decides nothing, where the gates are not through by then.
    """
    with held(name, home), ExitStack() as open_:
        found, holder = needed(name, number or CHALLENGER), find(name, CHAMPION)
        before = None if holder is None else str(holder.version)
        if holder is not None and before == str(found.version):
            return Decision("unchanged", str(found.version), before, (), None, {})
        challenger = open_.enter_context(opened(found, servable=True))
        champion = None if holder is None else open_.enter_context(opened(holder))
        verdicts, figures = judge(challenger, champion, home, device, allow_dirty, say, rules, minutes)
        passed = all(one.passed for one in verdicts)
        if dry_run:
            return Decision("would promote" if passed else "would refuse", challenger.number, before, verdicts, None, figures)
        decision = "promoted" if passed else "refused"
        run_id = ledger.open_entry(
            name,
            home,
            decision,
            challenger.number,
            before,
            gates.summary(verdicts),
            _files(verdicts, figures, challenger, champion),
        )
        logs.log_metrics(run_id, {key: value for key, value in figures.items() if isinstance(value, float)})
        ledger.close_entry(run_id)
        if passed:
            _set_alias(name, challenger.number)
        after = ledger.entries(name)[-1]
        return Decision(decision, challenger.number, after.champion, verdicts, after.number, figures)


def _files(
    verdicts: tuple[Verdict, ...], figures: dict[str, Any], challenger: Version, champion: Version | None
) -> dict[str, Any]:
    prints = {OURS: challenger.trained_on.get("fingerprint")}
    prints |= {THEIRS: champion.trained_on.get("fingerprint")} if champion else {}
    return {
        "verdicts.json": [one.to_dict() for one in verdicts],
        "scores.json": figures,
        "fingerprints.json": prints,
    }


def judge(
    challenger: Version,
    champion: Version | None,
    home: Path,
    device: str,
    allow_dirty: bool,
    say: Say,
    rules: PromotionParams | None = None,
    minutes: float | None = None,
) -> tuple[tuple[Verdict, ...], dict[str, Any]]:
    """Every gate's verdict, the cheap ones first, and both scores on the same unseen origins.  Raises Overdue."""
    check_whole(challenger)
    run = RunParams.stored(challenger.trained_on["run"])
    rules = rules or run.promotion
    verdicts = [gates.checks(challenger.trained_on), gates.clean_tree(challenger.trained_on["fingerprint"], allow_dirty)]
    unlike = _unlike(challenger, champion)
    if unlike:
        return (*verdicts, Verdict("champion", False, unlike)), {}
    with deadline(minutes or rules.timeout_minutes) as until:
        until.at("origins")
        say("scoring on the same unseen origins ...")
        scored, figures = _scored(challenger, champion, home, run, rules)
        until.at("bundle")
        say("loading the bundle in a fresh process ...")
        loaded = reloads(challenger, until.left)
        until.at("reproduction")
        say("training it again from its fingerprint ...")
        proof = reproduce(challenger, home, device, say, until.stop)
    return (*verdicts, *scored, loaded, Verdict("reproduction", proof.same, proof.words)), figures


def _scored(
    challenger: Version, champion: Version | None, home: Path, run: RunParams, rules: PromotionParams
) -> tuple[list[Verdict], dict[str, Any]]:
    """The verdicts of all gates that scores on the same unseen origins answer, and the scores."""
    versions = {OURS: challenger} | ({THEIRS: champion} if champion else {})
    naive = challenger.trained_on["naive"]
    panel = panel_of(challenger, home)
    split = Split(**challenger.trained_on["job"]["split"])
    origins = common_origins(panel, split, run.evaluation.stride, list(versions.values()))
    frame = forecast_frames(panel, origins, versions, run)
    params = windows_of(challenger)
    overlap = significance.overlap_of(params.horizon, params.gap, run.evaluation.stride)
    counted = gates.enough_origins(frame, overlap)
    verdicts = [counted, gates.whole(frame, list(versions))]
    if all(one.passed for one in verdicts):
        verdicts += [gates.skill(frame, naive, rules), gates.slice_skill(frame, naive, rules), gates.coverage(frame, rules)]
        if champion:
            newer = challenger.trained_on["newest"] > champion.trained_on["newest"]
            verdicts.append(gates.against_champion(frame, overlap, newer, rules))
    return verdicts, _figures(frame, naive, versions, overlap)


def _unlike(challenger: Version, champion: Version | None) -> str:
    """What makes two versions no answers to the same question; empty where nothing does."""
    if champion is None:
        return ""
    if "unseen_from" not in champion.trained_on:
        return f"{champion} was registered by an older lagline and does not say what it has seen; roll back or compare again"
    ours, theirs = (version.facts["columns"]["y"] for version in (challenger, champion))
    if ours != theirs:
        return f"the challenger forecasts {ours}, the champion {theirs}: their errors are of different things"
    for what in ("horizon", "gap"):
        ours, theirs = (version.facts["windows"][what] for version in (challenger, champion))
        if ours != theirs:
            return f"the challenger has a {what} of {ours}, the champion of {theirs}: they forecast different things"
    if challenger.facts["frequency"] != champion.facts["frequency"]:
        return "the challenger and the champion have different frequencies"
    return ""


def _figures(frame: pl.DataFrame, naive: str, versions: dict[str, Version], overlap: int) -> dict[str, Any]:
    """Scores of every version and of the best naive on the same rows, with the interval of each difference."""
    found: dict[str, Any] = {"origins": frame["cutoff"].n_unique(), "series": frame["unique_id"].n_unique(), "naive": naive}
    for name in (*versions, naive):
        found[f"{name}_mae"] = scores.mae(frame, name)
        if name != naive:
            found[f"{name}_skill"] = scores.skill(frame, name, naive)
    for name, other in ((OURS, naive), *(((OURS, THEIRS),) if THEIRS in versions else ())):
        one = significance.judge(significance.differences(frame, [name], [other]), overlap)
        found[f"{name}_less_{other}"] = asdict(one) if one else None
    return found


def roll_back(name: str, home: Path) -> tuple[str, str]:
    """Makes the champion before the present one champion again; returns (who was, who is).

    Versions that were deleted are skipped.  Raises UserError where none came before that is still there.
    """
    with held(name, home):
        there = ledger.entries(name)
        now, stack = ledger.champion(there), _stack(there)
        others = [version for version in reversed(stack) if version != now]
        earlier = next((version for version in others if find(name, version)), None)
        if earlier is None:
            before = f"before {f'version {now}' if now else 'now'}{' that is still there' if others else ''}"
            raise UserError(f"{name}: no champion came {before}: there is nothing to roll back to")
        was = now or stack[-1]
        with opened(needed(name, earlier), servable=True):  # a damaged one is no champion
            run_id = ledger.open_entry(
                name, home, "rollback", earlier, now, f"version {earlier} is champion again, after {was}", {}
            )
            ledger.close_entry(run_id)
            _set_alias(name, earlier)
        return was, earlier


def _stack(some: list[ledger.Entry]) -> list[str]:
    """All champions up to the newest: a rollback takes those above its version away, and they do not come back."""
    stack: list[str] = []
    for entry in some:
        if entry.decision == "rollback":
            stack.pop()
            while stack[-1] != entry.version:
                stack.pop()
        elif entry.decision == "promoted":
            stack.append(entry.version)
    return stack
