"""Numbers as people write them (1.234,56; 1 234,5; 1'234.5): read as `data.csv` says, and what the cells of a table tell."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

import polars as pl

from params.data import CsvParams
from tasks.names import column

PLAIN = CsvParams()
NULLS = ("", "na", "n/a", "nan", "null", "none")  # words for nothing
SPACES = " \u00a0\u2007\u2009\u202f"  # what stands between thousands where one writes a space
QUOTES = "'\u2019"
SIGN, POWER = "[+\u2212-]?", "(?:[eE][+-]?[0-9]+)?"
CAST = rf"^{SIGN}(?:[0-9]+\.?[0-9]*|\.[0-9]+){POWER}$"  # what polars takes for a number


def is_plain(csv: CsvParams) -> bool:
    """Whether numbers are written as a program writes them: 1234.5."""
    return csv.decimal == "." and csv.thousands is None


def read_numbers(text: pl.Expr, csv: CsvParams) -> pl.Expr:
    """A column of stripped text whose numbers are written as polars reads them; what is no number stays as it is.

    A number of another form, such as 1.5 where the decimal is a comma, is no number, and what it is told with says so.
    """
    if is_plain(csv):
        return text
    foreign = pl.format("{} (not as data.csv says)", text)
    digits = text.str.replace("\u2212", "-", literal=True)
    if csv.thousands is not None:
        digits = digits.str.replace_all(_class(csv.thousands), "")
    number = digits.str.replace(csv.decimal, ".", literal=True)
    own = text.str.contains(own_form(csv))
    return pl.when(own).then(number).when(text.str.contains(CAST)).then(foreign).otherwise(text)


def own_form(csv: CsvParams) -> str:
    """The pattern of a number as `csv` writes it."""
    whole = "[0-9]+"
    if csv.thousands is not None:
        mark = _class(csv.thousands)
        whole = rf"(?:[0-9]+|[0-9]{{1,3}}(?:{mark}[0-9]{{2,3}})*{mark}[0-9]{{3}})"
    point = re.escape(csv.decimal)
    return rf"^{SIGN}(?:{whole}(?:{point}[0-9]*)?|{point}[0-9]+){POWER}$"


def _class(mark: str) -> str:
    """All the characters that are written for a mark between thousands, as a class of a pattern."""
    alike = next((chars for chars in (SPACES, QUOTES) if mark in chars), mark)
    return f"[{re.escape(alike)}]"


# what a cell says of the file that it stands in; the first form that fits counts
FORMS = {
    "plain": r"[0-9]{1,3}",
    "long": r"[0-9]{4,}",
    "thousands,": r"[0-9]{1,3}(?:,[0-9]{2,3})*,[0-9]{3}\.[0-9]+|[0-9]{1,3}(?:,[0-9]{2,3})+,[0-9]{3}",  # 1,234.5 and 1,234,567
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
MONTHS = r"^(?:(?:1[89]|20)[0-9]{2}[.](?:0[1-9]|1[0-2])|(?:0[1-9]|1[0-2])[.](?:1[89]|20)[0-9]{2})$"  # 2020.01 is no number
LEAST_NUMBERS = 0.9  # of the filled cells of a column whose forms count


@dataclass(frozen=True)
class Evidence:
    """The forms of number in which the number columns of a table are written, each with the column and a cell of it.

    `grouped`: that of a column in which 1.234 stands among whole numbers below 1,000 and nothing else: are there thousands?
    """

    seen: dict[str, tuple[str, str]]
    grouped: tuple[str, str] | None = None

    def example(self, *forms: str) -> tuple[str, str] | None:
        """Column and cell of the first of the forms that was seen."""
        return next((self.seen[form] for form in forms if form in self.seen), None)


def form_of(cell: str) -> str | None:
    """The form of number in which a cell is written, if it is one."""
    bare = re.sub(POWER + "$", "", re.sub("^" + SIGN, "", cell))
    return next((name for name, form in FORMS.items() if re.fullmatch(form, bare)), None)


def evidence_of(rows: pl.LazyFrame, columns: Iterable[str]) -> Evidence:
    """Which forms of number a table of text is written in; one pass."""
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
    """The forms of a column with a cell of each, and how many of its cells are numbers, of how many.

    Cells are told apart by their shape, all digits alike but a leading zero: there are few, however many rows.
    """
    cell = pl.col("cell")
    text = column(name).str.strip_chars().alias("cell")
    filled = rows.select(text).filter(~cell.str.to_lowercase().is_in(NULLS))
    zero, month = cell.str.contains(f"^{SIGN}0"), cell.str.contains(MONTHS)
    shape = [cell.str.replace_all("[0-9]", "9").alias("shape"), zero.alias("zero"), month.alias("month")]
    found = filled.group_by(shape).agg(cell.min(), pl.len().alias("rows")).collect(engine="streaming")
    forms: dict[str, str] = {}
    numbers = total = 0
    for _, _, is_month, one, count in found.sort("cell").iter_rows():
        total += count
        form = None if is_month else form_of(one)
        if form is not None:
            numbers += count
            forms.setdefault(form, one)
    return forms, numbers, total
