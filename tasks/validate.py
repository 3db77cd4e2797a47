"""The data checks: a Great Expectations suite, built from the params, judges the profile of a table; never reads a row itself.

Each check has a severity: `fail` stops the flow, `warn` is reported, `drop` leaves a feature or a series out and says so.
"""

import json
import logging
import os
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
from prefect import task
from prefect.cache_policies import NO_CACHE

from models.windows import SPLITS
from params.schema import RunParams
from tasks.checks_report import report_html, report_lines
from tasks.frequency import Frequency
from tasks.load import ROOT
from tasks.profile import Profile, make_profile

MOST_NAMED = 10


@dataclass(frozen=True)
class Check:
    """One expectation: `column` of the profile (of the series or of the table) must lie between `low` and `high`."""

    name: str
    severity: str  # fail, warn or drop
    level: str  # series or table
    column: str
    low: float | None
    high: float | None
    about: str  # what is wrong where it fails, and what to do
    feature: str | None = None


@dataclass(frozen=True)
class Finding:
    """What became of a check: `series` names those that failed it (`table` for the whole), `worst` the value found."""

    name: str
    severity: str
    passed: bool
    feature: str | None
    series: list[str]
    worst: float | None
    low: float | None
    high: float | None
    about: str


@dataclass(frozen=True)
class Verdict:
    """The answer of the checks, JSON-ready; `library` is the library's own result."""

    passed: bool
    findings: list[Finding]
    dropped_features: list[str]
    dropped_series: list[str]
    facts: dict[str, Any]
    library: list[dict[str, Any]]

    @property
    def notes(self) -> list[str]:
        """One line for each check that did not pass and each thing that was left out."""
        return report_lines(self)

    @property
    def message(self) -> str:
        """The failing checks in words."""
        lines = [line for line in report_lines(self) if line.startswith("fail")]
        return "the data checks failed; nothing was trained\n" + "\n".join(f"  {line}" for line in lines)


def validate(run: RunParams, root: Path = ROOT, docs: Path | None = None) -> Verdict:
    """Profiles the table of a run and judges it; with `docs`, Data Docs are written there."""
    return judge(make_profile(run, root), run, docs=docs)


def checks_of(run: RunParams, profile: Profile) -> list[Check]:
    """Every check of a run, in the order in which people read them."""
    rules, features = run.validation, [name for name in run.windows.features if name != "y"]
    missing = ", ".join(profile.missing)
    checks = [
        Check("columns", "fail", "table", "missing_columns", None, 0, f"the table has no column {missing}: correct windows.features"),
        Check("split", "fail", "table", "split_problem", None, 0, profile.split_problem or ""),
        Check("unique keys", "fail", "series", "duplicates", None, 0, "rows repeat a (unique_id, ds): keep one row a series and time"),
        Check("frequency", "fail", "series", "off_grid", None, 0, f"rows lie off the grid of {run.data.frequency}: correct data.frequency or resample"),
        Check("gaps", "fail", "series", "gap_share", None, rules.max_gap_share, "steps are missing: fill the gaps, or raise validation.max_gap_share"),
        Check("target observed", "fail", "series", "y_distinct", 1, None, "no value of the target is observed: remove the series"),
        Check("target varies", rules.on_constant_target, "series", "y_distinct", 2, None, "the target never changes: there is nothing to forecast"),
    ]
    for name in ("y", *(f for f in features if f not in profile.missing)):
        what = "the target" if name == "y" else name
        severity = "warn" if name == "y" else rules.on_null_feature
        checks += [
            Check(f"numbers: {name}", "fail", "series", f"text:{name}", None, 0, f"{what} holds text where numbers are needed", name),
            Check(f"finite: {name}", "fail", "series", f"infinite:{name}", None, 0, f"{what} holds infinite values: remove them at the source", name),
            Check(
                f"nulls: {name}", severity, "table", f"null_share:{name}", None, rules.max_null_share,
                f"{what} is empty in too many rows (validation.max_null_share)", name,
            ),
        ]  # fmt: skip
    for name, (low, high) in rules.ranges.items():
        for side, least, most in (("min", low, None), ("max", None, high)):
            about = f"{name} lies outside validation.ranges, {low:g} to {high:g}"
            checks.append(Check(f"range: {name} ({side})", "fail", "series", f"{side}:{name}", least, most, about, name))
    window = run.windows.window_params()
    need = window.reach + 1 + window.ahead
    checks.append(
        Check(
            "history", rules.on_short_series, "series", "windows:train", 1, None,
            f"too short for one training window ({need} rows before validation begins)",
        )
    )  # fmt: skip
    if profile.split_problem is None:
        checks += [_windows_check(name) for name in SPLITS]
    if rules.fresh_within is not None:
        checks.append(Check("fresh", "fail", "table", "late", None, 0, f"the newest row is older than {rules.fresh_within}: is the feed late?"))
    if not isinstance(run.data.frequency, int):
        checks.append(Check("not from the future", "warn", "table", "ahead", None, 0, "the newest row lies in the future: are the times UTC?"))
    return checks


def _windows_check(split: str) -> Check:
    about = f"no series has a complete {split} window: give longer history, or shorten lookback, horizon or split"
    return Check(f"{split} windows", "fail", "table", f"windows:{split}", 1, None, about)


def judge(profile: Profile, run: RunParams, now: datetime | None = None, docs: Path | None = None) -> Verdict:
    """The verdict on a profile.  What a dropped feature or a dropped series would fail besides does not count."""
    checks = checks_of(run, profile)
    frames = {"series": profile.series, "table": _table(profile, run, now or datetime.now(UTC))}
    library = _run_suites({k: _for_pandas(v, checks, k) for k, v in frames.items()}, checks, docs)
    failed = {name: series for result in library for name, series in _failures(result).items()}
    found = [_finding(check, failed.get(check.name), frames[check.level]) for check in checks]
    dropped_features = [f.feature for f in found if not f.passed and f.severity == "drop" and f.feature]
    dropped_series = sorted({s for f in found if not f.passed and f.severity == "drop" and not f.feature for s in f.series})
    kept = [f for f in found if f.severity == "drop" or f.passed or not _moot(f, dropped_features, dropped_series)]
    kept = [_without(f, dropped_series) for f in kept]
    left = profile.series.height - len(dropped_series)
    if not left:
        kept = [_as_failure(f) if f.name == "history" else f for f in kept]
    if dropped_features and set(dropped_features) >= set(run.windows.features):
        kept = [_as_failure(f) if f.feature in dropped_features else f for f in kept]
    passed = all(f.passed or f.severity != "fail" for f in kept)
    facts = {"series": profile.series.height, "rows": int(profile.table["rows"][0]), **_span(profile)}
    return Verdict(passed, kept, dropped_features, dropped_series if left else [], facts, library)


def _moot(finding: Finding, features: list[str], series: list[str]) -> bool:
    return finding.feature in features or (bool(finding.series) and set(finding.series) <= set(series))


def _without(finding: Finding, dropped: list[str]) -> Finding:
    if finding.severity == "drop" or not dropped:
        return finding
    return Finding(**asdict(finding) | {"series": [s for s in finding.series if s not in dropped]})


def _as_failure(finding: Finding) -> Finding:
    return Finding(**asdict(finding) | {"severity": "fail"})


def _span(profile: Profile) -> dict[str, str]:
    return {"first": str(profile.table["first"][0]), "last": str(profile.table["last"][0])}


def _table(profile: Profile, run: RunParams, now: datetime) -> pl.DataFrame:
    """The row of the whole table with the answers that need the params or the clock."""
    table = profile.table.with_columns(missing_columns=pl.lit(len(profile.missing)), split_problem=pl.lit(int(bool(profile.split_problem))))
    if isinstance(run.data.frequency, int):
        return table.with_columns(late=pl.lit(0), ahead=pl.lit(0))
    limit = run.validation.fresh_within
    frequency = Frequency(run.data.frequency)
    clock = pl.lit(now).cast(pl.Datetime("us", "UTC"))
    if isinstance(limit, int):
        oldest = frequency.shift(clock, -limit)
    else:
        oldest = clock.dt.offset_by(f"-{limit}") if limit else clock
    return table.with_columns(late=(pl.col("last") < oldest).cast(pl.Int64), ahead=(pl.col("last") > clock).cast(pl.Int64))


def _for_pandas(frame: pl.DataFrame, checks: list[Check], level: str) -> Any:
    wanted = list(dict.fromkeys(check.column for check in checks if check.level == level))
    keys = ["unique_id"] if level == "series" else []
    return frame.select(*keys, *(pl.col(name).cast(pl.Float64) for name in wanted)).to_pandas()


def _run_suites(frames: dict[str, Any], checks: list[Check], docs: Path | None) -> list[dict[str, Any]]:
    """Runs one checkpoint over a suite for the series and one for the table; returns the library's results as plain JSON."""
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    import great_expectations as gx

    logging.getLogger("great_expectations").setLevel(logging.WARNING)
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    source = context.data_sources.add_pandas("profile")
    definitions = []
    for level, frame in frames.items():
        suite = gx.ExpectationSuite(name=level)
        for check in (c for c in checks if c.level == level):
            suite.add_expectation(
                gx.expectations.ExpectColumnValuesToBeBetween(
                    column=check.column, min_value=check.low, max_value=check.high, meta={"check": check.name},
                    severity="critical" if check.severity == "fail" else "warning", notes=check.about or None,
                )
            )  # fmt: skip
        batch = source.add_dataframe_asset(level).add_batch_definition_whole_dataframe(level)
        definition = gx.ValidationDefinition(name=level, data=batch, suite=context.suites.add(suite))
        definitions.append((context.validation_definitions.add(definition), frame, level))
    results = []
    for definition, frame, level in definitions:
        index = ["unique_id"] if level == "series" else []
        form = {"result_format": "COMPLETE", "unexpected_index_column_names": index} if index else {"result_format": "COMPLETE"}
        checkpoint = context.checkpoints.add(gx.Checkpoint(name=level, validation_definitions=[definition], result_format=form))
        found = checkpoint.run(batch_parameters={"dataframe": frame})
        results += [json.loads(json.dumps(r.to_json_dict(), default=str)) for r in found.run_results.values()]
    if docs is not None:
        _write_docs(context, docs)
    return results


def _write_docs(context: Any, folder: Path) -> None:
    backend = {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(folder)}
    site = {"class_name": "SiteBuilder", "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"}, "store_backend": backend}
    context.add_data_docs_site(site_name="lagline", site_config=site)
    context.build_data_docs(site_names=["lagline"])


def _failures(result: dict[str, Any]) -> dict[str, list[str]]:
    """The names of the checks that failed, each with the series that failed it (none for a check of the table)."""
    failed = {}
    for item in result["results"]:
        raised = item.get("exception_info", {})
        if raised.get("raised_exception"):
            raise RuntimeError(f"Great Expectations could not run {item['expectation_config']['meta']['check']}: {raised}")
        if not item["success"]:
            rows = item["result"].get("unexpected_index_list") or []
            failed[item["expectation_config"]["meta"]["check"]] = [str(row["unique_id"]) for row in rows if isinstance(row, dict)]
    return failed


def _finding(check: Check, failed: list[str] | None, frame: pl.DataFrame) -> Finding:
    values = frame.get_column(check.column).cast(pl.Float64)
    worst = values.min() if check.low is not None else values.max()
    about = check.about
    if check.name.startswith("numbers:") and failed:
        examples = frame.filter(pl.col("unique_id").is_in(failed)).get_column(f"example:{check.feature}").drop_nulls()
        about += f", such as {examples[0]!r}" if len(examples) else ""
    named = sorted(failed or [])
    return Finding(
        check.name, check.severity, failed is None, check.feature, named, None if worst is None else float(worst), check.low, check.high, about  # type: ignore[arg-type]
    )  # fmt: skip


@task(cache_policy=NO_CACHE)
def validate_series(run: RunParams, folder: Path) -> dict[str, Any]:
    """Writes checks.json (the library's result with ours) and checks.html to a folder; returns the small facts of the verdict."""
    docs = folder / "data_docs" if run.validation.data_docs else None
    verdict = validate(run, docs=docs)
    (folder / "checks.json").write_text(json.dumps(asdict(verdict), indent=1))
    (folder / "checks.html").write_text(report_html(verdict, run.name))
    return {
        "passed": verdict.passed,
        "notes": verdict.notes,
        "message": verdict.message,
        "dropped_features": verdict.dropped_features,
        "dropped_series": verdict.dropped_series,
    }
