"""lagline from Python: tables in memory or as paths go in, polars frames and named facts come out.

    from flows.api import compare, forecast
    board = compare(df, id="store", time="date", target="sales", horizon=7, name="sales")
    ahead = forecast("sales@challenger", df)

Every call does what the verb of the same name does, with the same messages, in the same state folder
(LAGLINE_HOME, by default .lagline in the working folder), and leaves environment, streams and signals of the
process as they were. Progress goes to standard error. Errors are `UserError`: what is wrong, where, what to
do. `ChecksFailed`: the data were read and judged, and the answer is no. After Ctrl-C the same call goes on
where it was.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack

from flows.drafted import Names, Settings, Wanted, planned, run_of
from flows.results import Board, Champion, board_of, champion_of
from flows.runtime.library import inside
from params.errors import ChecksFailed, UserError

if TYPE_CHECKING:
    from tasks.load.memory import Frame, Table
    from tasks.promote.decision import Decision
    from tasks.validate.verdict import Verdict

__all__ = [
    "Board", "Champion", "ChecksFailed", "UserError",
    "champion", "compare", "forecast", "lag_table", "leaderboard", "promote", "validate",
]  # fmt: skip


class Sections(TypedDict, total=False):
    """The sections of a run file as dicts, and `settings`: dotted keys as of `--set`, which come last.

    Each key replaces what was guessed or what a run file says there: `training={"max_epochs": 3}` is the same
    as `settings={"training.max_epochs": 3}` and as `settings=["training.max_epochs=3"]`.  params/base.yaml
    has all keys.
    """

    data: Mapping[str, Any]
    windows: Mapping[str, Any]
    split: Mapping[str, Any]
    validation: Mapping[str, Any]
    scaling: Mapping[str, Any]
    network: Mapping[str, Any]
    training: Mapping[str, Any]
    evaluation: Mapping[str, Any]
    promotion: Mapping[str, Any]
    settings: Settings


def compare(
    table: "Table | None" = None,
    /,
    *,
    id: Names | None = None,
    time: Names | None = None,
    target: str | None = None,
    horizon: int | str | None = None,
    future: Names = (),
    static: Names = (),
    variants: Names | None = None,
    name: str | None = None,
    params: str | Path | None = None,
    fresh: bool = False,
    **sections: Unpack[Sections],
) -> Board:
    """Checks a table, trains every variant, scores all on the same unseen origins, registers the best.

    `table`: one row per series and time step; a polars DataFrame or LazyFrame, a pandas DataFrame, or a path.
    `id`, `time`: one column, or several that together name a series or a time; `target`: the column to
    forecast; `horizon`: steps, or a duration such as "28d"; `future`: columns known ahead; `static`: columns
    that are constant within a series; `variants`: names, or "all"; `name`: what the experiment and the model
    are called. What is left out is guessed as `init` guesses it, or read from a run file (`params`); with
    one, the table may be left out. `fresh`: trains again what is trained already.

    A frame is kept as Parquet in the state folder (`tables/`), named by its content, so that `promote` and
    `reproduce` find it; `prune` removes it once nothing refers to it. Nothing of the frame is changed.

    Raises UserError for a table or a value that cannot be used, ChecksFailed for data that fail the checks.

        roles = {"id": "store", "time": "date", "target": "sales"}
        board = compare(df, **roles, horizon=7, variants=["ridge", "gru"], name="sales")
        board.chosen, board.version, board.rows
    """
    wanted = Wanted(
        table=table, id=id, time=time, target=target, horizon=horizon, future=future, static=static,
        variants=variants, name=name, params=params, sections=sections,
    )  # fmt: skip
    with inside() as home, planned(wanted, home) as plan:
        from flows.started import run_comparison
        from tasks.registry.standing import made_by

        comparison = run_comparison(home, plan, fresh, variants == "all")
        registered = comparison.registered.version if comparison.registered else made_by(comparison.parent)
        return board_of(comparison.name, comparison.parent, registered, comparison.unchanged)


def forecast(
    reference: str,
    table: "Table",
    /,
    *,
    future: "Table | None" = None,
    start: str | int | None = None,
    stride: int = 1,
    levels: Sequence[float] = (90,),
    quantiles: Sequence[float] = (),
    judged: bool = False,
    strict: bool = False,
    nixtla: bool = False,
) -> "Frame":
    """Forecasts with a registered version: NAME@champion, NAME@challenger, NAME@3, or NAME: its champion.

    `table`: the history, in memory or as a path, with the column names of the version's own table; `future`:
    values known ahead, in a table of their own. One forecast per series, after its last row; with `start`, one
    at every `stride`-th cutoff from there. `levels`: intervals in percent; `quantiles`: in addition;
    `judged`: by the weights that have not seen the test range; `strict`: never by a baseline instead;
    `nixtla`: keys called unique_id and ds.

    Returns, sorted by series, cutoff and time, the table's own id and time columns (types and zone as they
    came), `cutoff` (the last row that a forecast saw), `yhat` in the unit of the target, `yhat-lo-90`,
    `yhat-hi-90` ..., and `model` (which one forecast: the version's variant, or a baseline for series too
    short for it): `horizon` rows per series and cutoff.

    Raises UserError for a version that does not exist, and for a table that lacks something.

        ahead = forecast("sales@challenger", df)
    """
    from tasks.registry.versions import needed, parse

    name, which = parse(reference)
    if stride != 1 and start is None:
        raise UserError("stride= needs start=: without it there is one forecast per series, after its last row")
    with inside() as home:
        from flows.runtime.progress import Board as Progress
        from tasks.load.memory import opened as table_file
        from tasks.registry.admitted import admit
        from tasks.registry.load import opened
        from tasks.serve.forecast import Asked
        from tasks.serve.forecast import forecast as forecast_table
        from tasks.serve.given import in_columns_of
        from tasks.tracking import connection

        with Progress() as board, connection.answered(), ExitStack() as files:
            connection.connect(home)
            version = files.enter_context(opened(needed(name, which)))
            admit(version, home)
            times = version.facts.columns["ds"]
            path, later = (
                None if one is None else files.enter_context(table_file(one, home, times if isinstance(times, str) else None))
                for one in (table, future)
            )
            asked = Asked(
                start=None if start is None else str(start), stride=stride, judged=judged, strict=strict, future=later,
                nixtla=nixtla, levels=tuple(levels), quantiles=tuple(quantiles),
            )  # fmt: skip
            forecasts = forecast_table(version, path or "", asked)
            returned = in_columns_of(forecasts.given, forecasts.made, nixtla=nixtla)
        for line in filter(None, (returned.renamed, *forecasts.notes)):
            board.say(line)
        return returned.rows


def validate(
    table: "Table | None" = None,
    /,
    *,
    id: Names | None = None,
    time: Names | None = None,
    target: str | None = None,
    horizon: int | str | None = None,
    future: Names = (),
    static: Names = (),
    params: str | Path | None = None,
    **sections: Unpack[Sections],
) -> "Verdict":
    """Only the data checks of `compare`, whose arguments it takes; nothing is kept or trained.

    The verdict has `passed`, `failed` (the findings that stop a comparison, each with `name`, `about`,
    `series`, `worst`), all `findings`, `dropped_features` and `dropped_series`. Raises UserError for a table
    without series and times, but never ChecksFailed: a failed check is an answer.

        verdict = validate(df, id="store", time="date", target="sales")
        [finding.name for finding in verdict.failed]
    """
    wanted = Wanted(
        table=table, id=id, time=time, target=target, horizon=horizon, future=future, static=static,
        params=params, sections=sections,
    )  # fmt: skip
    with inside() as home, run_of(wanted, home) as run:
        from tasks.load.source import open_source
        from tasks.validate.suite import validate as judge

        return judge(run, open_source(run.data))


def lag_table(
    table: "Table | None" = None,
    /,
    *,
    id: Names | None = None,
    time: Names | None = None,
    target: str | None = None,
    horizon: int | str | None = None,
    future: Names = (),
    static: Names = (),
    params: str | Path | None = None,
    edges: Literal["keep", "drop"] = "keep",
    rolling: Sequence[int] = (),
    **sections: Unpack[Sections],
) -> "Frame":
    """The windows of `compare`, whose arguments it takes, as a wide frame for tabular models and for people.

    Keys `unique_id` and `ds` (the time of the target of step 1), then `{feature}_lag{k}` (its value k rows
    before `ds`), `{feature}_mean{w}` for each w of `rolling`, calendar and static columns, and `y_step1 ..
    y_step{horizon}`; null where there is no value. A series of n rows has n + 1, the last one step past its
    end; `edges="drop"` leaves only rows whose window and targets are whole. All of it is in memory; `python
    -m flows lags --out` writes in bounded memory.

    Raises UserError and ChecksFailed as `compare` does; nothing is trained, so that no series is too short.

        y = {"lookback": 3}
        wide = lag_table(df, id="store", time="date", target="sales", horizon=2, windows={"features": {"y": y}})
    """
    wanted = Wanted(
        table=table, id=id, time=time, target=target, horizon=horizon, future=future, static=static,
        params=params, sections=sections,
    )  # fmt: skip
    with inside() as home, run_of(wanted, home, trains=False) as run:
        from tempfile import TemporaryDirectory

        from flows.verbs.data import cut_for_lags
        from tasks.lags.file import whole_table

        with TemporaryDirectory(prefix=".lags-", dir=home) as scratch:
            cut = cut_for_lags(run, Path(scratch), look=False)
            return whole_table(cut.panel, cut.windows, edges, rolling)


def leaderboard(name: str) -> "Frame":
    """The rows of the last comparison of a name, as `Board.rows`: one per variant and baseline, best first.

    Raises UserError if there is none.

        leaderboard("sales").select("name", "val_mae", "test_mae", "test_skill")
    """
    with inside() as home:
        from flows.verbs.runs import board_in, leaderboard_of
        from tasks.report.leaderboard import frame
        from tasks.tracking import connection

        with connection.answered():
            connection.connect(home)
            return frame(board_in(leaderboard_of(name))[0].rows)


def promote(
    name: str,
    *,
    version: int | str | None = None,
    dry_run: bool = False,
    allow_dirty: bool = False,
    allow_chance: bool = False,
    minutes: float | None = None,
    reason: str = "",
) -> "Decision":
    """Judges the challenger (or a `version`) against the champion on origins that neither has seen.

    The decision has `promoted`, `words` (a sentence), `gates` (each with `gate`, `passed`, `words`),
    `scores`, `champion` (the version that holds the alias now, or None) and `entry` (its number in the
    ledger). A refusal is an answer, not an error. `dry_run`: judges, but moves no alias; `allow_dirty`,
    `allow_chance`: as of the command line; `minutes`: what the gates may take; `reason`: kept in the ledger.

    Raises UserError if there is nothing to promote.

        decision = promote("sales", dry_run=True)
        {gate.gate: gate.passed for gate in decision.gates}
    """
    from flows.runtime.begin import a_name, a_reason

    a_name(name)
    if minutes is not None and not 0 < minutes <= 10**6:
        raise UserError(f"minutes={minutes:g}: write how many minutes the gates may take, such as 120")
    reason = a_reason(reason)
    with inside(decides=True) as home:
        from flows.started import run_promotion
        from tasks.promote.options import PromoteOptions

        options = PromoteOptions(
            version=None if version is None else str(version), dry_run=dry_run, allow_dirty=allow_dirty,
            allow_chance=allow_chance, minutes=minutes, reason=reason,
        )  # fmt: skip
        return run_promotion(home, name, options)


def champion(name: str) -> Champion | None:
    """What is known of the champion of a name; None if there is none.

    Raises UserError for a name that cannot be, and for a version that is damaged.

        champion("sales")
    """
    from flows.runtime.begin import a_name

    a_name(name)
    with inside() as home:
        from tasks.tracking import connection

        with connection.answered():
            connection.connect(home)
            return champion_of(name)
