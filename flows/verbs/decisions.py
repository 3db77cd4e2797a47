"""The verbs that move a champion: promote, rollback and history; `champion.py` does and prints it."""

from typing import Annotated

import typer

from flows.runtime import arguments as arg
from flows.runtime.begin import open_home
from params.errors import UserError


def promote(
    name: arg.Name,
    version: arg.Version = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Give every verdict and move nothing.")] = False,
    allow_dirty: arg.AllowDirty = False,
    allow_chance: arg.AllowChance = False,
    unsealed: arg.Unsealed = False,
    minutes: arg.Minutes = None,
    reason: arg.Reason = "",
) -> None:
    """Hold the challenger against the champion on origins that neither has seen; exit status 1 where it is refused."""
    if minutes is not None and not 0 < minutes <= 10**6:
        raise UserError(f"--timeout {minutes:g}: write how many minutes the gates may take, such as 120")
    home = open_home(decides=True)
    from flows.started import run_promotion
    from tasks.promote.options import PromoteOptions

    options = PromoteOptions(
        version=None if version is None else str(version), dry_run=dry_run, allow_dirty=allow_dirty,
        allow_chance=allow_chance, unsealed=unsealed, minutes=minutes, reason=reason,
    )  # fmt: skip
    decision = run_promotion(home, name, options)
    from flows.verbs.champion import show_decision

    show_decision(decision)
    if not decision.promoted:
        raise typer.Exit(1)


def rollback(name: arg.Name, unsealed: arg.Unsealed = False, reason: arg.Reason = "") -> None:
    """Put the champion before the present one back."""
    home = open_home(decides=True)
    from flows.verbs.champion import show_rollback

    show_rollback(home, name, unsealed, reason)


def history(
    name: arg.Name,
    at: Annotated[str | None, typer.Option("--at", metavar="DATE", help="Who was champion then, such as 2026-11-24.")] = None,
    as_json: arg.Json = False,
    accept: Annotated[
        bool, typer.Option("--accept", help="Take a ledger that does not chain as it stands; an entry says who did.")
    ] = False,
    reason: arg.Reason = "",
) -> None:
    """Every decision on a name, and who is champion; a ledger that does not chain, in words."""
    if accept:
        home = open_home(decides=True)
        from flows.verbs.champion import accept_ledger

        return accept_ledger(home, name, reason)
    if reason:
        raise UserError("history --reason: a reason goes with --accept alone")
    home = open_home(frames=False)
    from flows.verbs.champion import show_history

    show_history(home, name, at, as_json)
