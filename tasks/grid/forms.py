"""Notations of times as regular expressions with named groups: year-first forms, or a user's format.

Groups: year or short (two digits), month, name (of the month) or quarter, day, weekday, yearday, week, hour,
minute, second, half (am or pm), zone; months, days, hours, ... without separators; also in models/serving.py.
"""

import re

ZONE = r"UTC|GMT|[Zz]|[+-](?:0[0-9]|1[0-8])(?::?[0-5][0-9])?"
CLOCK = (
    r"(?P<hour>[0-9]{1,2})(?::(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2}(?:[.,][0-9]+)?))?)?"
    r"|(?P<hours>[0-9]{2})(?P<minutes>[0-9]{2})(?P<seconds>[0-9]{2}(?:[.,][0-9]+)?)?"
)
HALF = r"(?: ?(?P<half>[AaPp])\.?[Mm]\.?)?"
YEAR_FIRST = (
    r"^(?P<year>[0-9]{4})(?:"
    r"-(?P<month>[0-9]{1,2})(?:-(?P<day>[0-9]{1,2}))?|(?P<months>[0-9]{2})(?P<days>[0-9]{2})?"
    r"|[-: ]?[Qq](?P<quarter>[1-4])|[-: ]?[Mm](?P<number>[0-9]{1,2})|-?[Ww](?P<week>[0-9]{2})(?:-?(?P<weekday>[1-7]))?"
    rf")?(?:(?:[Tt]| +)(?:{CLOCK}){HALF}(?: ?(?P<zone>{ZONE}))?)?$"
)
CLOCK_ALONE = f"^(?:{CLOCK}){HALF}$"
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
WHOLES = {"F": "%Y-%m-%d", "T": "%H:%M:%S", "R": "%H:%M", "D": "%m/%d/%y"}
PARTS = {
    "Y": "(?P<year>[0-9]{4})",
    "G": "(?P<year>[0-9]{4})",
    "y": "(?P<short>[0-9]{2})",
    "q": "(?P<quarter>[1-4])",
    **dict.fromkeys("bBh", rf"(?P<name>{'|'.join(MONTHS)})[a-z]*\.?"),
    **dict.fromkeys("aA", r"[a-z]+\.?"),
    "m": "(?P<month>[0-9]{1,2})",
    "j": "(?P<yearday>[0-9]{1,3})",
    "V": "(?P<week>[0-9]{1,2})",
    "u": "(?P<weekday>[1-7])",
    **dict.fromkeys("de", "(?P<day>[0-9]{1,2})"),
    **dict.fromkeys("HkIl", "(?P<hour>[0-9]{1,2})"),
    "M": "(?P<minute>[0-9]{1,2})",
    "S": "(?P<second>[0-9]{1,2})",
    "f": "(?P<fraction>[0-9]+)",
    **dict.fromkeys("pP", r"(?P<half>[ap])\.?m\.?"),
    "z": f"(?P<zone>{ZONE})",
    "%": "%",
}


def pattern_of(form: str) -> str:
    """A regular expression for a strftime format of DataParams; single digits match between separators."""
    form = re.sub(r"%([FTRD])", lambda match: WHOLES[match[1]], re.sub(r"%[-_0:#]+", "%", form))
    tokens = re.findall(r"[.,]?%\.?[0-9]?f|%.|\s+|.", form)
    pattern = ""
    for at, token in enumerate(tokens):
        beside = [tokens[i] for i in (at - 1, at + 1) if 0 <= i < len(tokens)]
        if token.endswith("f") and "%" in token:
            pattern += "(?:[.,](?P<fraction>[0-9]+))?"
        elif token.startswith("%"):
            part = PARTS[token[1:]]
            close = any(re.fullmatch("%[YGymdeHkIlMSjV]", other) for other in beside)
            pattern += re.sub(r"\[0-9\]\{1,([23])\}", r"[0-9]{\1}", part) if close else part
        elif token.isspace():
            pattern += r"\s*" if any(other in ("%p", "%P", "%z") for other in beside) else r"\s+"
        else:
            pattern += re.escape(token)
    return f"(?i)^{pattern}$"
