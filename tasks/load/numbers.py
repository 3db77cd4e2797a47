"""Numbers as people write them (1.234,56; 1 234,5; 1'234.5): reads a given format, or detects it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

import polars as pl

from params.data import CsvParams
from tasks.names import column

PLAIN = CsvParams()
NULLS = ("", "na", "n/a", "nan", "null", "none")  # words for nothing
SPACES = " \u00a0\u2007\u2009\u202f"  # characters used as a space between thousands
QUOTES = "'\u2019"
SIGN, POWER = "[+\u2212-]?", "(?:[eE][+-]?[0-9]+)?"
CAST = rf"^{SIGN}(?:[0-9]+\.?[0-9]*|\.[0-9]+){POWER}$"  # what polars accepts as a number


def is_plain(csv: CsvParams) -> bool:
    """Whether numbers are written as programs write them: 1234.5."""
    return csv.decimal == "." and csv.thousands is None


def read_numbers(text: pl.Expr, csv: CsvParams) -> pl.Expr:
    """A column of stripped text with its numbers rewritten for polars; other text is unchanged.

    A number in another format, such as 1.5 if the decimal mark is a comma, is marked as such, not read.
    """
    if is_plain(csv):
        return text
    foreign = pl.format("{} (not as data.csv says)", text)
    digits = text.str.replace("\u2212", "-", literal=True)
    if csv.thousands is not None:
        digits = digits.str.replace_all(_class(csv.thousands), "")
    number = digits.str.replace(csv.decimal, ".", literal=True)
    native = text.str.contains(own_form(csv))
    return pl.when(native).then(number).when(text.str.contains(CAST)).then(foreign).otherwise(text)


def own_form(csv: CsvParams) -> str:
    """The pattern of a number in the format of `csv`."""
    whole = "[0-9]+"
    if csv.thousands is not None:
        mark = _class(csv.thousands)
        whole = rf"(?:[0-9]+|[0-9]{{1,3}}(?:{mark}[0-9]{{2,3}})*{mark}[0-9]{{3}})"
    point = re.escape(csv.decimal)
    return rf"^{SIGN}(?:{whole}(?:{point}[0-9]*)?|{point}[0-9]+){POWER}$"


def _class(mark: str) -> str:
    """A character class of all variants of a thousands separator."""
    alike = next((chars for chars in (SPACES, QUOTES) if mark in chars), mark)
    return f"[{re.escape(alike)}]"


# what a cell tells about the format of its file; the first match counts
FORMS = {
    "plain": r"[0-9]{1,3}",
    "long": r"[0-9]{4,}",
    "thousands,": r"[0-9]{1,3}(?:,[0-9]{2,3})*,[0-9]{3}\.[0-9]+|[0-9]{1,3}(?:,[0-9]{2,3})+,[0-9]{3}",
    "thousands.": r"[0-9]{1,3}(?:\.[0-9]{3})+,[0-9]+|[0-9]{1,3}(?:\.[0-9]{3}){2,}",
    "either,": r"[1-9][0-9]{0,2},[0-9]{3}",  # 1,234: thousands or a decimal comma
    "either.": r"[1-9][0-9]{0,2}\.[0-9]{3}",
    "decimal,": r"[0-9]*,[0-9]+",
    "decimal.": r"[0-9]*\.[0-9]+|[0-9]+\.",
    "space,": rf"[0-9]{{1,3}}(?:[{SPACES}][0-9]{{3}})+,[0-9]+",
    "space.": rf"[0-9]{{1,3}}(?:[{SPACES}][0-9]{{3}})+\.[0-9]+",
    "space": rf"[0-9]{{1,3}}(?:[{SPACES}][0-9]{{3}})+",
    "quote,": rf"[0-9]{{1,3}}(?:[{QUOTES}][0-9]{{3}})+,[0-9]+",
    "quote.": rf"[0-9]{{1,3}}(?:[{QUOTES}][0-9]{{3}})+\.[0-9]+",
    "quote": rf"[0-9]{{1,3}}(?:[{QUOTES}][0-9]{{3}})+",
}
ANY = rf"^{SIGN}(?:{'|'.join(FORMS.values())}){POWER}$"
# 2020.01 is a month, not a number
MONTHS = r"^(?:(?:1[89]|20)[0-9]{2}[.](?:0[1-9]|1[0-2])|(?:0[1-9]|1[0-2])[.](?:1[89]|20)[0-9]{2})$"
LEAST_NUMBERS = 0.9  # share of numbers among a column's filled cells, for its forms to count


@dataclass(frozen=True)
class Evidence:
    """The number forms seen in a table's number columns, each with a column and a cell as an example.

    `grouped`: the example of a column with 1.234 among integers below 1,000 only: perhaps thousands.
    """

    seen: dict[str, tuple[str, str]]
    grouped: tuple[str, str] | None = None

    def example(self, *forms: str) -> tuple[str, str] | None:
        """Column and cell of the first of these forms that was seen."""
        return next((self.seen[form] for form in forms if form in self.seen), None)


def form_of(cell: str) -> str | None:
    """The number form of a cell, if it is a number."""
    bare = re.sub(POWER + "$", "", re.sub("^" + SIGN, "", cell))
    return next((name for name, form in FORMS.items() if re.fullmatch(form, bare)), None)


def evidence_of(rows: pl.LazyFrame, columns: Iterable[str]) -> Evidence:
    """The number forms in a text table; one pass."""
    seen: dict[str, tuple[str, str]] = {}
    grouped: tuple[str, str] | None = None
    for name in columns:
        forms, numbers, filled = _forms_of(rows, name)
        if not numbers or numbers < LEAST_NUMBERS * filled:
            continue
        for form, cell in forms.items():
            seen.setdefault(form, (name, cell))
        if set(forms) == {"plain", "either."}:
            grouped = grouped or (name, forms["either."])
    return Evidence(seen, grouped)


def _forms_of(rows: pl.LazyFrame, name: str) -> tuple[dict[str, str], int, int]:
    """The forms of a column with an example cell each, how many cells are numbers, and how many filled.

    Cells are grouped by shape, with all digits alike except a leading zero: there are few, however many rows.
    """
    cell = pl.col("cell")
    text = column(name).str.strip_chars().alias("cell")
    filled = rows.select(text).filter(~cell.str.to_lowercase().is_in(NULLS))
    zero, month = cell.str.contains(f"^{SIGN}0"), cell.str.contains(MONTHS)
    shape = [cell.str.replace_all("[0-9]", "9").alias("shape"), zero.alias("zero"), month.alias("month")]
    by_shape = filled.group_by(shape).agg(cell.min(), pl.len().alias("rows")).collect(engine="streaming")
    forms: dict[str, str] = {}
    numbers = total = 0
    for _, _, is_month, example, count in by_shape.sort("cell").iter_rows():
        total += count
        form = None if is_month else form_of(example)
        if form is not None:
            numbers += count
            forms.setdefault(form, example)
    return forms, numbers, total
