"""Text that may be shown: without secrets, and without what a terminal would obey.  All that we print or log goes through.

`shown` for lines of ours, `visible` for one cell of data in them, `masked` alone for what a program reads.
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
LEAST = 6  # letters of a secret that is known by its value: a shorter one would take words and numbers of ours with it

# Unicode's classes Cc, Cf, Cs, Zl and Zp: what moves a cursor, colours, hides or reorders text, ends a line, or is half of a
# pair.  Not the two joiners, without which some scripts cannot be written, nor the signs of Arabic numbers, which one sees
_OBEYED = (
    r"\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u070f\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff"
    r"\ufff9-\ufffb\U000110bd\U000110cd\U00013430-\U0001345f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e007f"
)
OBEYED = re.compile(f"[{_OBEYED}]")
OBEYED_OR_LINE = re.compile(f"[{_OBEYED}\\t\\n]")

# Every pattern bounds what it reads ahead, so that a line of any length, made to be slow, is read in linear time.
# An address may itself be percent-encoded, once or more, within another.
_CODE = "%(?:25)*"
_WRITTEN = (  # the colon and slashes that begin it, the colon within, the @, and what its names cannot hold
    ("://", ":", "@", ""),
    (rf"(?::|{_CODE}3A)(?:{_CODE}2F){{2}}", rf"(?::|{_CODE}3A)", rf"(?:@|{_CODE}40)", rf"(?!{_CODE}(?:3A|2F|40|3F|23))"),
)
# `scheme://user:password@host`, to the last @ of the word: an unescaped one belongs to the password.  A number before a path is
# a port
PASSWORDS = tuple(
    re.compile(
        rf"({start})((?:{no}[^\s:@/?#\[]){{0,200}}){colon}(?!\d{{1,5}}(?:[?#\s]|{_CODE}2F|/[^\s@]{{0,500}}[/?#]|/?$))"
        rf"(\S{{0,2000}}){at}",
        re.IGNORECASE,
    )
    for start, colon, at, no in _WRITTEN
)
# `https://token@host`: of a web address a user alone is a secret; of a database it is a name
TOKENS = tuple(
    re.compile(rf"((?:https?|wss?|ftps?|grpcs?|s3){start})((?:{no}[^\s/?#:@]){{1,2000}}){at}(?!\s|$)", re.IGNORECASE)
    for start, _, at, no in _WRITTEN
)
# `user:password@host` without a scheme
BARE = re.compile(r"""(?<![\w/.+-])([\w.+-]{1,100}:)([^\s/:@"']{1,200})@(?=[\w\[])""")
# `password=...` and whatever else ends in such a name; the short names only in the query of an address
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

# variables of the environment that hold a secret, by their name
_SECRET_NAME = re.compile(r"(?:PASSWORD|PASSWD|PASSPHRASE|PWD|SECRET|TOKEN|KEY|AUTH_STRING|CONNECTION_STRING)$", re.IGNORECASE)
_NO_SECRETS = ("PWD", "OLDPWD")


def shown(text: str) -> str:
    """Lines of ours without secrets and with control characters as escapes; their own line ends and tabs stay."""
    return masked(escaped(text))


def escaped(text: str) -> str:
    """The same without the masks, for a line that hands a key of ours over on purpose."""
    return OBEYED.sub(_escape, text)


def visible(text: str) -> str:
    """A name or a value of data in one line: line ends and tabs are escapes too, so that no row of a table breaks.

    Two that differ still do: a backslash is written as two.
    """
    return masked(OBEYED_OR_LINE.sub(_escape, text.replace("\\", "\\\\")))


def shown_tree(tree: Any) -> Any:
    """A tree of JSON with its texts masked: what is written from it is valid, which a JSON that is masked may not be."""
    if isinstance(tree, str):
        return masked(tree)
    if isinstance(tree, dict):
        return {shown_tree(name): shown_tree(value) for name, value in tree.items()}
    return [shown_tree(value) for value in tree] if isinstance(tree, list | tuple) else tree


def discreet(call: Callable[P, R]) -> Callable[P, R]:
    """A flow or a task whose errors hold no secret: Prefect keeps their texts, with those of the errors behind them."""

    @wraps(call)
    def called(*arguments: P.args, **named: P.kwargs) -> R:
        try:
            return call(*arguments, **named)
        except Exception as error:
            _clean(error, set())
            raise

    return called


def _clean(error: BaseException | None, seen: set[int]) -> None:
    """Masks the texts of an error in place, and of those that it came from or holds."""
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
    """The text without secrets: those of a known form, those that the environment holds, and the ones that `also` names."""
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


def _without_password(found: re.Match[str]) -> str:
    """The user stays; where the password is empty, or a word that services ask for in its place, the user is the secret."""
    start, user, password = found.groups()
    return f"{start}{MASK}@" if password in ("", "x-oauth-basic") else f"{start}{user}:{MASK}@"


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()


@cache
def known_secrets() -> re.Pattern[str] | None:
    """What finds the secrets of the environment as it was when this was called first (`learn` looks again)."""
    weak: set[str] = set()
    strong: set[str] = set()
    for secret in _of_the_environment():
        if len(secret) >= LEAST:
            (weak if secret.isalpha() or secret.isdigit() else strong).update(_spellings(secret))
    # a word or a number is masked where it stands alone, and not within one of ours
    parts = [*map(re.escape, _longest_first(strong)), *(rf"(?<![\w.-]){re.escape(w)}(?![\w-])" for w in _longest_first(weak))]
    return re.compile("|".join(parts)) if parts else None


def learn() -> None:
    """The environment holds other secrets now."""
    known_secrets.cache_clear()


def _of_the_environment() -> Iterator[str]:
    """The values of variables that are named like a secret, and the secret parts of all others."""
    for name, value in os.environ.items():
        if _SECRET_NAME.search(name) and name not in _NO_SECRETS:
            yield value
            yield from [value.partition(":")[2]] if name.upper().endswith("AUTH_STRING") else []
        yield from (found[3] for pattern in PASSWORDS for found in pattern.finditer(value))
        yield from (found[2] for pattern in (*TOKENS, NAMED, NAMED_CODED) for found in pattern.finditer(value))


def _spellings(secret: str) -> set[str]:
    """A secret as it may be written: as it is, percent-encoded, decoded, or within quotes."""
    plain = {secret, unquote(secret)} - {""}
    return plain | {form for one in plain for form in (quote(one), quote(one, safe=""), quote_plus(one), repr(one)[1:-1])}


def _longest_first(texts: Iterable[str]) -> list[str]:
    return sorted(set(texts), key=lambda text: (-len(text), text))
