"""Reports of the data checks: lines for a terminal, and an offline web page."""

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from params.shown import visible
from tasks import pages
from tasks.pages import NUMBER, Cell, Html, Row, Section
from tasks.validate.verdict import Finding, Verdict

MOST_NAMED = 10


def outcome(finding: Finding) -> str:
    """ok, or the severity of a failed check."""
    return "ok" if finding.passed else finding.severity


def number(value: float | None, unit: str) -> str:
    """A figure for people: counts in full, shares in percent, values with six digits; None is empty."""
    if value is None:
        return ""
    if unit == "share":
        return f"{value * 100:.4g} %"
    if unit == "count":
        return f"{value:,.0f}" if value else "none"
    return f"{value:,.0f}" if 1e5 <= abs(value) < 1e15 else f"{value:,.6g}"


def observed(finding: Finding) -> str:
    """The worst value that the check met, or yes or no for a check that has none."""
    if finding.unit == "answer":
        return "yes" if finding.passed else "no"
    return number(finding.worst, finding.unit)


def allowed(finding: Finding) -> str:
    """The limit of the check, in words."""
    if finding.unit == "answer":
        return "yes"
    if finding.low is not None:
        return f"at least {number(finding.low, finding.unit)}"
    most = number(finding.high, finding.unit)
    return most if most == "none" else f"at most {most}"


def heading(verdict: Verdict) -> str:
    """What was checked: rows, series and their time span."""
    summary = verdict.facts
    first, last = (str(summary[end]).removesuffix("+00:00") for end in ("first", "last"))
    zone = " UTC" if str(summary["last"]).endswith("+00:00") else ""
    return f"{summary['rows']:,} rows, {summary['series']:,} series, {first} to {last}{zone}"


def named(series: list[str]) -> str:
    """At most ten series by name, and how many more there are."""
    more = f" and {len(series) - MOST_NAMED} more" if len(series) > MOST_NAMED else ""
    return ", ".join(visible(name) for name in series[:MOST_NAMED]) + more


def _line(finding: Finding) -> str:
    """One sentence: severity, name, what is wrong, by how much, and in which series."""
    each = "up to " if finding.series and finding.low is None else ""
    much = "" if finding.unit == "answer" else f" (found {each}{observed(finding)}, allowed {allowed(finding)})"
    where = f"; series {named(finding.series)}" if finding.series else ""
    return f"{finding.severity}: {visible(finding.name)}: {visible(finding.about)}{much}{where}"


def report_lines(verdict: Verdict) -> list[str]:
    """Remarks on the table, a line per check that did not pass, then what is left out and what is to forecast."""
    return _lines(verdict, verdict.findings)


def notes(verdict: Verdict) -> list[str]:
    """The same as `report_lines` without the checks that stop the flow."""
    return _lines(verdict, [finding for finding in verdict.findings if not finding.failed])


def _lines(verdict: Verdict, findings: Sequence[Finding]) -> list[str]:
    lines = [*verdict.told, *(_line(finding) for finding in findings if not finding.passed)]
    if verdict.dropped_features:
        lines.append(f"left out: feature {', '.join(map(visible, verdict.dropped_features))}")
    if verdict.dropped_series:
        lines.append(f"left out: series {named(verdict.dropped_series)}")
    rows, series = verdict.facts.get("to_forecast", (0, 0))  # older verdicts lack it
    return [*lines, to_forecast(rows, series)] if rows else lines


def to_forecast(rows: int, series: int) -> str:
    """The line that counts the newest rows without a target, which are the ones to forecast."""
    counted = f"{rows:,} {'row' if rows == 1 else 'rows'} after the last observed target, of {series:,} series"
    return f"{counted}: {'this is the one' if rows == 1 else 'these are the ones'} to forecast"


def failure_message(verdict: Verdict) -> str:
    """A heading, then a line per check that stops the flow."""
    return "\n".join(["the data checks failed", *(f"  {_line(finding)}" for finding in verdict.findings if finding.failed)])


def report_table(verdict: Verdict) -> Table:
    """All checks as a table for a terminal."""
    title = f"Data checks: {heading(verdict)}"
    table = Table(title=Text(title), title_justify="left", box=None, pad_edge=False, min_width=len(title))
    for column, side in (("check", "left"), ("outcome", "left"), ("found", "right"), ("allowed", "left"), ("series", "left")):
        table.add_column(column, justify=side)  # type: ignore[arg-type]
    for f in verdict.findings:
        style = {"ok": "", "fail": "bold red", "warn": "yellow", "drop": "yellow"}[outcome(f)]
        cells = (visible(f.name), outcome(f), observed(f), allowed(f), named(f.series))
        table.add_row(*(Text(cell) for cell in cells), style=style)
    return table


def checks(verdict: Verdict) -> Html:
    """What was checked and whether it passed, then `report_lines`, as part of a page."""
    answer = ("ok", "passed") if verdict.passed else ("fail", "failed")
    return pages.paragraph(heading(verdict), *answer) + pages.bullets(report_lines(verdict))


def rows(verdict: Verdict) -> Html:
    """All checks as a table of a page."""
    heads = (("check", ""), ("outcome", ""), ("found", NUMBER), ("allowed", ""), ("series", ""), ("what to do", ""))
    body = [
        Row(
            (
                Cell(f.name),
                Cell(outcome(f), outcome(f)),
                Cell(observed(f), NUMBER),
                Cell(allowed(f), "limit"),
                Cell(named(f.series)),
                Cell("" if f.passed else f.about, "long"),
            )
        )
        for f in verdict.findings
    ]
    return pages.table([Cell(*head) for head in heads], body)


def report_html(verdict: Verdict, name: str) -> str:
    """The verdict as a page."""
    return pages.page(f"{name}: data checks", "", [Section("checks", "All checks", body=checks(verdict) + rows(verdict))])
