"""The holidays of a run: given dates, and those of countries or exchanges."""

import re
import warnings
from collections.abc import Sequence
from datetime import date
from functools import cache

from params.errors import UserError

YEARS = range(1950, 2101)  # for countries; the package knows some for fewer years


def holidays_of(given: str | Sequence[str] | None) -> tuple[date, ...]:
    """`data.holidays` as sorted dates: each a date, a country (DE), a region (DE-BY) or an exchange (XNYS).

    Raises UserError if the package that knows them is missing, or does not know one.
    """
    texts = (given,) if isinstance(given, str) else given or ()
    return tuple(sorted({day for text in texts for day in _days(text)}))


@cache
def _days(text: str) -> tuple[date, ...]:
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
        return (date.fromisoformat(text),)
    try:
        import holidays
    except ImportError:
        raise UserError(
            f"data.holidays: {text} is looked up in the package holidays, which is not installed: "
            "python -m pip install holidays, or give the dates as a list"
        ) from None
    country, _, part = text.partition("-")
    with warnings.catch_warnings():  # about years that it does not know
        warnings.simplefilter("ignore")
        try:
            if country in holidays.list_supported_financial() and not part:
                return tuple(holidays.financial_holidays(country, years=YEARS))
            return tuple(holidays.country_holidays(country, subdiv=part or None, years=YEARS))
        except (NotImplementedError, KeyError):
            raise UserError(
                f"data.holidays: {text!r} is neither a date nor a country that the package holidays knows: write dates such as "
                "2024-12-25, a country such as DE, a part of one such as DE-BY, or an exchange such as XNYS"
            ) from None
