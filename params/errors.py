"""The two ways in which lagline says no to its user; never a traceback, a programming error or the password of a URL."""

import re

PASSWORD = re.compile(r"(://[^\s:@/]*):\S*@")  # to the last @ of the word: an unescaped one belongs to the password


def without_password(text: str) -> str:
    """The text with the password of every `scheme://user:password@host` in it masked."""
    return PASSWORD.sub(r"\1:***@", text)


class UserError(Exception):
    """Something that the user can mend: one message that says what is wrong, where, and what to do (exit status 2)."""

    def __init__(self, message: str) -> None:
        super().__init__(without_password(message))


class Unavailable(UserError):
    """A server does not answer, or a disk is full: the same command may do later, without any change."""


class ChecksFailed(Exception):
    """The data was read and judged, and the answer is no (exit status 1)."""
