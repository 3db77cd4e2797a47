"""The data checks: a Great Expectations suite, derived from the params, judges the profile of a table.

Severities: `fail` stops the flow, `warn` is reported, `drop` leaves out a feature or a series and says so.
"""

import html
import json
import logging
import os
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from prefect import task
from prefect.cache_policies import NO_CACHE

from params.schema import RunParams
from params.shown import discreet
from tasks.grid.zone import to_wall
from tasks.load.keys import check_keys
from tasks.load.recognise import as_a_number
from tasks.load.source import Source
from tasks.validate.profile import Profile, make_profile
from tasks.validate.report import report_html
from tasks.validate.rules import Level, Rule, rules_of
from tasks.validate.verdict import Extent, Finding, Severity, SuiteResult, Verdict

if TYPE_CHECKING:
    import pandas as pd


def validate(
    run: RunParams, source: Source, docs: Path | None = None, look: bool = False, table_alone: bool = False
) -> Verdict:
    """Profiles the table of a run and judges it; `docs`: a folder for Data Docs; the rest: see `judge`.

    Raises UserError if it cannot be read as a table of series and times.
    """
    check_keys(source)
    return judge(make_profile(run, source), run, docs=docs, look=look, table_alone=table_alone)


def judge(
    profile: Profile,
    run: RunParams,
    now: datetime | None = None,
    docs: Path | None = None,
    look: bool = False,
    table_alone: bool = False,
) -> Verdict:
    """The verdict on a profile.  Other failures of a dropped feature or series do not count.

    `look`: for a glance without a record, the same rules without the library, whose import takes seconds.
    `table_alone`: only checks of the table itself, as nothing is trained.
    """
    rules = rules_of(run, profile, table_alone)
    frames: dict[Level, pl.DataFrame] = {"series": profile.series, "table": _table(profile, run, now or datetime.now(UTC))}
    library: list[SuiteResult] = []
    if look:
        failed = _out_of_bounds(frames, rules)
    else:
        library = _run_suites({level: _for_pandas(frame, rules, level) for level, frame in frames.items()}, rules, docs)
        failed = {name: series for result in library for name, series in _failures(result).items()}
    findings = [_finding(rule, failed.get(rule.name), frames[rule.level]) for rule in rules]
    drops = [f for f in findings if f.dropped]
    features = [f.feature for f in drops if f.feature]
    series = sorted({name for f in drops if not f.feature for name in f.series})
    if features and set(features) >= set(run.windows.features):
        findings, features = [replace(f, severity=Severity.FAIL) if f.feature in features else f for f in findings], []
    kept = [f if f.severity == Severity.DROP else f.less(series) for f in findings if not _moot(f, features, series)]
    passed = not any(f.failed for f in kept)
    return Verdict(passed, kept, features, series, _extent(profile), library, [profile.told] if profile.told else [])


def _moot(finding: Finding, features: list[str], series: list[str]) -> bool:
    """Whether a rule failed only for features and series that are dropped."""
    if finding.passed or finding.severity == Severity.DROP:
        return False
    return finding.feature in features or (bool(finding.series) and set(finding.series) <= set(series))


def _extent(profile: Profile) -> Extent:
    first, last = (profile.table[end][0] for end in ("first", "last"))
    first, last = profile.shown(first).removesuffix(f" {profile.frequency.clock}"), profile.shown(last)
    return {
        "series": profile.series.height, "rows": int(profile.table["rows"][0]), "first": first, "last": last,
        "to_forecast": (profile.tail.rows, profile.tail.series),
    }  # fmt: skip


def _table(profile: Profile, run: RunParams, now: datetime) -> pl.DataFrame:
    """The row of the whole table, plus answers that need the params or the clock."""
    table = profile.table.with_columns(
        missing_columns=pl.lit(len(profile.missing)),
        split_problem=pl.lit(int(bool(profile.split_problem))),
        columns_y=pl.lit(int("y" in profile.found and run.data.target != "y")),
    )
    if isinstance(run.data.frequency, int):
        return table.with_columns(late=pl.lit(0), ahead=pl.lit(0))
    limit, frequency, clock = run.validation.fresh_within, profile.frequency, pl.lit(now).cast(pl.Datetime("us", "UTC"))
    clock = to_wall(clock, frequency.clock)
    oldest = frequency.shift(clock, -limit) if isinstance(limit, int) else frequency.before(clock, limit or "0h")
    return table.with_columns(late=(pl.col("last") < oldest).cast(pl.Int64), ahead=(pl.col("last") > clock).cast(pl.Int64))


def _for_pandas(frame: pl.DataFrame, rules: list[Rule], level: Level) -> "pd.DataFrame":
    wanted = list(dict.fromkeys(rule.column for rule in rules if rule.level == level))
    keys = ["unique_id"] if level == "series" else []
    if keys:  # the library does not escape names in its pages
        frame = frame.with_columns(pl.col("unique_id").map_elements(html.escape, pl.String))
    return frame.select(*keys, *(pl.col(name).cast(pl.Float64) for name in wanted)).to_pandas()


def _run_suites(frames: dict[Level, "pd.DataFrame"], rules: list[Rule], docs: Path | None) -> list[SuiteResult]:
    """Runs a suite and a checkpoint for series and table; the library's results as plain JSON."""
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    import great_expectations as gx

    logging.getLogger("great_expectations.data_context.types.base").setLevel(logging.WARNING)  # not INFO
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}  # type: ignore[assignment]  # as documented
    source = context.data_sources.add_pandas("profile")
    results = []
    for level, frame in frames.items():
        suite = context.suites.add(_suite(gx, level, rules))
        batch = source.add_dataframe_asset(level).add_batch_definition_whole_dataframe(level)
        definition = context.validation_definitions.add(gx.ValidationDefinition(name=level, data=batch, suite=suite))
        named = {"unexpected_index_column_names": ["unique_id"]} if level == "series" else {}
        form: Any = {"result_format": "COMPLETE", **named}
        checkpoint = context.checkpoints.add(gx.Checkpoint(name=level, validation_definitions=[definition], result_format=form))
        outcome = checkpoint.run(batch_parameters={"dataframe": frame})
        judged: list[Any] = list(outcome.run_results.values())
        results += [json.loads(json.dumps(result.to_json_dict(), default=str)) for result in judged]
    if docs is not None:
        _write_docs(context, docs)
    return results


def _suite(gx: Any, level: Level, rules: list[Rule]) -> Any:
    suite = gx.ExpectationSuite(name=level)
    for rule in rules:
        if rule.level == level:
            severity = "critical" if rule.severity == Severity.FAIL else "warning"
            between = gx.expectations.ExpectColumnValuesToBeBetween
            meta = {"rule": rule.name}
            expected = between(column=rule.column, min_value=rule.low, max_value=rule.high, meta=meta, severity=severity)
            suite.add_expectation(expected)
    return suite


def _write_docs(context: Any, folder: Path) -> None:
    backend = {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(folder)}
    site = {
        "class_name": "SiteBuilder",
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
        "store_backend": backend,
    }
    context.add_data_docs_site(site_name="lagline", site_config=site)
    context.build_data_docs(site_names=["lagline"])


def _failures(result: SuiteResult) -> dict[str, list[str]]:
    """The failed rules by name, each with the series that failed it (empty for table rules)."""
    failed = {}
    for item in result["results"]:
        name = item["expectation_config"]["meta"]["rule"]
        if item.get("exception_info", {}).get("raised_exception"):
            raise RuntimeError(f"Great Expectations could not judge {name!r}: {item['exception_info']}")
        if not item["success"]:
            rows = item["result"].get("unexpected_index_list") or []
            failed[name] = [
                html.unescape(str(row["unique_id"])) for row in rows if isinstance(row, dict) and "unique_id" in row
            ]
    return failed


def _out_of_bounds(frames: dict[Level, pl.DataFrame], rules: list[Rule]) -> dict[str, list[str]]:
    """The equivalent of `_failures` without the library; missing values break no rule here either."""
    failed = {}
    for rule in rules:
        value = pl.col(rule.column).cast(pl.Float64).fill_nan(None)
        low, high = pl.lit(rule.low, pl.Float64), pl.lit(rule.high, pl.Float64)
        beyond = frames[rule.level].filter((value < low).fill_null(False) | (value > high).fill_null(False))
        if not beyond.is_empty():
            failed[rule.name] = [str(name) for name in beyond["unique_id"]] if rule.level == "series" else []
    return failed


def _finding(rule: Rule, failed: list[str] | None, frame: pl.DataFrame) -> Finding:
    values = frame.get_column(rule.column).cast(pl.Float64)
    worst: Any = values.min() if rule.low is not None else values.max()
    about = rule.about
    if rule.examples is not None and failed:
        examples = frame.filter(pl.col("unique_id").is_in(failed)).get_column(rule.examples).drop_nulls()
        about += f", such as {examples[0]!r}{as_a_number(examples[0], None)}" if len(examples) else ""
    passed, named = failed is None, sorted(failed or [])
    return Finding(rule.name, rule.severity, passed, rule.feature, named, worst, rule.low, rule.high, about, rule.unit)


@task(cache_policy=NO_CACHE)
@discreet
def validate_series(run: RunParams, source: Source, folder: Path) -> Verdict:
    """Judges the data of a run; writes checks.json, checks.html and, if asked for, Data Docs to a folder."""
    docs = folder / "data_docs" if run.validation.data_docs else None
    verdict = validate(run, source, docs)
    (folder / "checks.json").write_text(json.dumps(asdict(verdict), indent=1, allow_nan=False), encoding="utf-8")
    (folder / "checks.html").write_text(report_html(verdict, run.name), encoding="utf-8")
    return verdict
