"""Filters text for display: masks secrets, escapes control characters.  All our output passes through.

`shown` for our own lines, `visible` for one cell of data in them, `masked` alone for what a program reads.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import cache, wraps
from typing import Any, ParamSpec, TypeVar
from urllib.parse import quote, quote_plus, unquote

P = ParamSpec("P")
R = TypeVar("R")
MASK = "***"
LEAST = 6  # characters of a secret known by its value: a shorter one would mask ordinary words and numbers

# Unicode's classes Cc, Cf, Cs, Zl and Zp: they move the cursor, colour, hide or reorder text, end a line, or
# are half a pair.  Not the two joiners, which some scripts need, nor the visible signs of Arabic numbers
_OBEYED = (
    r"\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u070f\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff"
    r"\ufff9-\ufffb\U000110bd\U000110cd\U00013430-\U0001345f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e007f"
)
OBEYED = re.compile(f"[{_OBEYED}]")
OBEYED_OR_LINE = re.compile(f"[{_OBEYED}\\t\\n]")

# Every pattern bounds its lookahead, so that even a crafted line of any length is read in linear time.
# An address may itself be percent-encoded, once or more, within another.
_CODE = "%(?:25)*"
_WRITTEN = (  # per spelling: what begins the address, its inner colon, the @, and what names cannot hold
    ("://", ":", "@", ""),
    (rf"(?::|{_CODE}3A)(?:{_CODE}2F){{2}}", rf"(?::|{_CODE}3A)", rf"(?:@|{_CODE}40)", rf"(?!{_CODE}(?:3A|2F|40|3F|23))"),
)
# `scheme://user:password@host`, to the last @ of the word: an unescaped one belongs to the password.  A
# number before a path is a port
PASSWORDS = tuple(
    re.compile(
        rf"({start})((?:{no}[^\s:@/?#\[]){{0,200}}){colon}(?!\d{{1,5}}(?:[?#\s]|{_CODE}2F|/[^\s@]{{0,500}}[/?#]|/?$))"
        rf"(\S{{0,2000}}){at}",
        re.IGNORECASE,
    )
    for start, colon, at, no in _WRITTEN
)
# `https://token@host`: in a web address a user alone is a secret; in a database's it is a name
TOKENS = tuple(
    re.compile(rf"((?:https?|wss?|ftps?|grpcs?|s3){start})((?:{no}[^\s/?#:@]){{1,2000}}){at}(?!\s|$)", re.IGNORECASE)
    for start, _, at, no in _WRITTEN
)
# `user:password@host` without a scheme
BARE = re.compile(r"""(?<![\w/.+-])([\w.+-]{1,100}:)([^\s/:@"']{1,200})@(?=[\w\[])""")
# `password=...` and other names that end so; the short names only in the query of an address
_NAMES = (
    r"pass(?:word|wd|phrase)|pwd|secret|token|(?:api|access|account|private|secret|sas|auth|client|encryption)[_-]?key"
    r"|auth[_-]?string|signature|credentials?|authorization"
)
_SHORT = r"(?:[?&;]|%(?:25)*(?:3F|26|3B))(?:amp;)?(?:sig|sas|key|auth|code|pass|pw)"
_VALUE = r"""\{[^}\s]{0,1000}\}|"[^"\n]{0,1000}"|'[^'\n]{0,1000}'|(?!:(?:\s|$))[^\s&;#"']"""
NAMED = re.compile(rf"((?:{_NAMES}|{_SHORT})=)((?:{_VALUE})+)", re.IGNORECASE)
NAMED_CODED = re.compile(rf"((?:{_NAMES}|{_SHORT}){_CODE}3D)((?:(?!{_CODE}(?:26|23|3B))(?:{_VALUE}))+)", re.IGNORECASE)
QUOTED = re.compile(
    rf"""((?:{_NAMES})["']\s?[:=,]\s?(?-i:b)?)("(?:\\.|[^"\\\n]){{0,1000}}"|'(?:\\.|[^'\\\n]){{0,1000}}')""", re.IGNORECASE
)
HEADER = re.compile(
    r"""((?:authorization|cookie|x-api-key|password|passwd|passphrase|api_key|access_token)["']?:\s{0,9}(?-i:b)?["']?)"""
    r"""((?:(?:basic|bearer|token|digest)\s)?[^\s"',]+)""",
    re.IGNORECASE,
)
_WORDS = ("pass", "pw", "secret", "token", "key", "sig", "sas", "auth", "code", "credential", "cookie", "bearer", "basic")
BEARER = re.compile(r"(\b(?:Bearer|Basic) )([A-Za-z0-9+/=._~-]{16,})")

# environment variables that hold a secret, by their name
_SECRET_NAME = re.compile(r"(?:PASSWORD|PASSWD|PASSPHRASE|PWD|SECRET|TOKEN|KEY|AUTH_STRING|CONNECTION_STRING)$", re.IGNORECASE)
_NO_SECRETS = ("PWD", "OLDPWD")


def shown(text: str) -> str:
    """Our own lines, with secrets masked and control characters escaped; line ends and tabs stay."""
    return masked(escaped(text))


def escaped(text: str) -> str:
    """Like `shown` without masks, for a line that deliberately shows a key of ours."""
    return OBEYED.sub(_escape, text)


def visible(text: str) -> str:
    """A name or value of data on one line: line ends and tabs are escaped too, so that no table row breaks.

    Different texts stay different: a backslash is doubled.
    """
    return masked(OBEYED_OR_LINE.sub(_escape, text.replace("\\", "\\\\")))


def shown_tree(tree: Any) -> Any:
    """A JSON tree with its texts masked; masking the serialised text instead could make it invalid."""
    if isinstance(tree, str):
        return masked(tree)
    if isinstance(tree, dict):
        return {shown_tree(name): shown_tree(value) for name, value in tree.items()}
    return [shown_tree(value) for value in tree] if isinstance(tree, list | tuple) else tree


def discreet(call: Callable[P, R]) -> Callable[P, R]:
    """Decorates a flow or task so that its errors, which Prefect stores, hold no secret."""

    @wraps(call)
    def called(*arguments: P.args, **named: P.kwargs) -> R:
        try:
            return call(*arguments, **named)
        except Exception as error:
            _clean(error, set())
            raise

    return called


def _clean(error: BaseException | None, seen: set[int]) -> None:
    """Masks the texts of an error in place, and of its causes and arguments."""
    if error is None or id(error) in seen:
        return
    seen.add(id(error))
    error.args = tuple(masked(part) if isinstance(part, str) else part for part in error.args)
    for name, value in vars(error).items():
        if isinstance(value, str):
            with suppress(AttributeError):
                setattr(error, name, masked(value))
    for other in (error.__cause__, error.__context__, *error.args):
        if isinstance(other, BaseException):
            _clean(other, seen)


def masked(text: str, also: Iterable[str] = ()) -> str:
    """The text with secrets masked: those of a known form, those in the environment, and those in `also`."""
    for spelling in _longest_first(form for secret in also for form in _spellings(secret)):
        text = text.replace(spelling, MASK)
    text = _without_forms(text)
    known = known_secrets()
    return known.sub(MASK, text) if known is not None else text


def _without_forms(text: str) -> str:
    if "@" in text or "40" in text:
        for pattern in PASSWORDS:
            text = pattern.sub(_without_password, text)
        for pattern in (*TOKENS, BARE):
            text = pattern.sub(rf"\1{MASK}@", text)
    low = text.lower()
    if any(word in low for word in _WORDS):
        for pattern in (NAMED, NAMED_CODED):
            text = pattern.sub(rf"\1{MASK}", text)
        text = QUOTED.sub(rf"\1'{MASK}'", text)
        for pattern in (HEADER, BEARER):
            text = pattern.sub(rf"\1{MASK}", text)
    return text


def _without_password(match: re.Match[str]) -> str:
    """Keeps the user, unless the password is empty or a placeholder: then the user is the secret."""
    start, user, password = match.groups()
    return f"{start}{MASK}@" if password in ("", "x-oauth-basic") else f"{start}{user}:{MASK}@"


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()


@cache
def known_secrets() -> re.Pattern[str] | None:
    """A pattern for the secrets in the environment, as of the first call (`learn` refreshes it)."""
    weak: set[str] = set()
    strong: set[str] = set()
    for secret in _of_the_environment():
        if len(secret) >= LEAST:
            (weak if secret.isalpha() or secret.isdigit() else strong).update(_spellings(secret))
    # a plain word or number is masked only where it stands alone
    parts = [*map(re.escape, _longest_first(strong)), *(rf"(?<![\w.-]){re.escape(w)}(?![\w-])" for w in _longest_first(weak))]
    return re.compile("|".join(parts)) if parts else None


def learn() -> None:
    """Refreshes the known secrets after the environment changed."""
    known_secrets.cache_clear()


def _of_the_environment() -> Iterator[str]:
    """The values of variables with secret names, and the secret parts of all others."""
    for name, value in os.environ.items():
        if _SECRET_NAME.search(name) and name not in _NO_SECRETS:
            yield value
            yield from [value.partition(":")[2]] if name.upper().endswith("AUTH_STRING") else []
        yield from (match[3] for pattern in PASSWORDS for match in pattern.finditer(value))
        yield from (match[2] for pattern in (*TOKENS, NAMED, NAMED_CODED) for match in pattern.finditer(value))


def _spellings(secret: str) -> set[str]:
    """A secret in all its spellings: plain, percent-encoded, decoded, quoted."""
    plain = {secret, unquote(secret)} - {""}
    return plain | {
        form
        for spelling in plain
        for form in (quote(spelling), quote(spelling, safe=""), quote_plus(spelling), repr(spelling)[1:-1])
    }


def _longest_first(texts: Iterable[str]) -> list[str]:
    return sorted(set(texts), key=lambda text: (-len(text), text))
