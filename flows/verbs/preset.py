"""`compare --preset` and `--minutes`: a first look at all variants, a search, then a comparison."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from flows.runtime.begin import prefect_api
from flows.verbs.tune import found_better, with_trials
from params.errors import UserError
from params.load import Plan, load_plan, variants_setting
from params.preset import Preset, load_preset
from tasks.tune.clock import Clock, Decision, Pick, ranges, record_decision, repeated, searched
from tasks.tune.files import check_free, file_of
from tasks.tune.trial import Trial

if TYPE_CHECKING:
    from flows.compare import Comparison
    from flows.preset import Look
    from flows.runtime.progress import Board

USUAL = "good"  # the preset of --minutes alone
OURS = ("variants", "training.seeds", "split.folds")  # the keys that a preset sets


@dataclass(frozen=True)
class Asked:
    """The options of the command.  `named`: variants were named, and replace those of the preset."""

    preset: str | None
    minutes: float | None
    tuned: int | None
    named: bool
    fresh: bool


def show_compared(home: Path, plan: Plan, asked: Asked) -> None:
    """Compares as a preset says, within the minutes if given, and shows the result.

    Raises UserError, before reading data, for an unknown preset or variant and for unwritable files.
    """
    if asked.tuned is not None:
        raise UserError("--tuned: a preset searches by itself: leave it out, or --preset and --minutes")
    from flows.verbs.runs import show_comparison

    show_comparison(_compared(home, plan, asked))


def _compared(home: Path, plan: Plan, asked: Asked) -> "Comparison":
    name = asked.preset or USUAL
    clock, preset = Clock(asked.minutes), _with_user_values(load_preset(name), plan, asked.named)
    base = [text for text in plan.settings if text.partition("=")[0].strip() not in OURS]
    with prefect_api(home) as server:
        from flows.runtime.progress import Board

        with Board() as board, board.stage("start"):
            first = _first(plan.path, base, preset.wanted(plan.run.variants), board)
            from flows.compare import compare as comparison
            from flows.preset import first_look
            from flows.runtime.recorded import recorded

            server.wait()
            board.say(f"preset {name}: {preset.about}" + (f"; {asked.minutes:g} minutes" if asked.minutes else ""))
        look = recorded(first_look, str(plan.path), list(first.settings), preset, name, clock, asked.fresh, first)
        lacking = look.folds < preset.folds
        preset = preset.model_copy(update={"folds": min(look.folds, preset.folds)})
        decision = look.decided or _decided(first, base, preset, name, clock, look)
        record_decision(look.file, decision)
        with Board() as board:
            for line in decision.words(preset):
                board.say(line)
            if lacking:
                board.say(f"  the data have room for no more than {look.folds} of the validation ranges")
        chosen = with_trials(load_plan(plan.path, [*base, *decision.settings()]), home, decision.search, decision.picks)
        outcome = recorded(comparison, str(plan.path), list(chosen.settings), False, chosen)
    _log(outcome.parent, decision)
    return outcome


def _with_user_values(preset: Preset, plan: Plan, named: bool) -> Preset:
    """The preset, with values that the user set explicitly in place of its own."""
    given = {text.partition("=")[0].strip() for text in plan.settings}
    changed: dict[str, object] = {"variants": plan.run.variants} if named or "variants" in given else {}
    changed |= {"seeds": plan.run.training.seeds} if "training.seeds" in given else {}
    changed |= {"folds": plan.run.split.folds} if "split.folds" in given else {}
    return preset.model_copy(update=changed)


def _first(path: Path, base: Sequence[str], names: Sequence[str], board: "Board") -> Plan:
    """The plan of the first look: one seed, one validation range, the variants that the windows allow."""
    from tasks.train.check import check_plan, only_those_that_fit

    plan = only_those_that_fit(
        load_plan(path, [*base, variants_setting(names), "training.seeds=1", "split.folds=1"]), board.say
    )
    for variant in plan.variants.values():
        if variant.search:
            check_free(file_of(variant.variant))
    check_plan(plan)
    return plan


def _decided(first: Plan, base: Sequence[str], preset: Preset, name: str, clock: Clock, look: "Look") -> Decision:
    """Decides how many validation ranges there is time for, searches the best variants of the first look over
    them, and decides how many seeds fit into the rest."""
    kept = tuple(variant for variant in first.run.variants if variant not in look.left_out)
    every = sum(tried.seconds for tried in look.tried)
    folds = ranges(preset, clock, every, look.jobs)
    owed = (folds - 1) * every
    tuned, trials, minutes = searched(preset, clock, look.tried, folds, owed, look.jobs)
    decision = Decision(preset=name, minutes=clock.minutes, variants=kept, left_out=look.left_out, tuned=tuned, folds=folds)
    seconds = folds * sum(tried.seconds for tried in look.tried if tried.seeded)
    if tuned:
        plan = load_plan(first.path, [*base, variants_setting(tuned), "training.seeds=1", f"split.folds={folds}"])
        search, best = _search(plan, trials, minutes)
        decision = replace(decision, search=search, picks=tuple(Pick(trial.variant, trial.number) for trial in best))
        seconds += sum(trial.seconds for trial in best)
    return replace(decision, seeds=repeated(preset, clock, seconds, owed, look.jobs))


def _search(plan: Plan, trials: int, minutes: float | None) -> tuple[str, list[Trial]]:
    """The identity of a search of the plan's variants, and as many best trials as it has variants."""
    from flows.runtime.recorded import recorded
    from flows.tune import Limits, tune

    result = recorded(tune, str(plan.path), list(plan.settings), Limits(trials, minutes), plan).found
    return result.search.identity, found_better(result.spaces, result.trials)[: len(plan.variants)]


def _log(parent: str, decision: Decision) -> None:
    """Logs the decision to the comparison that it led to."""
    from tasks.tracking import logs

    logs.tag(parent, {"preset": decision.preset, "minutes": "" if decision.minutes is None else f"{decision.minutes:g}"})
    logs.log_text(parent, json.dumps(asdict(decision), indent=1), "preset.json")
