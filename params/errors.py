"""The two ways in which lagline says no to its user; never a traceback, a secret or a control character."""

from params.shown import shown


def clipped(text: str, most: int = 60) -> str:
    """The text, or the beginning of one that is too long for a message; filtered before: half a secret has no form."""
    text = shown(text)
    return text if len(text) <= most else f"{text[: most - 3]}..."


class UserError(Exception):
    """Something that the user can mend: one message that says what is wrong, where, and what to do (exit status 2)."""

    def __init__(self, message: str) -> None:
        super().__init__(shown(message))


class Unavailable(UserError):
    """A server does not answer, or a disk is full: the same command may do later, without any change."""


class ChecksFailed(Exception):
    """The data was read and judged, and the answer is no (exit status 1)."""

    def __init__(self, message: str) -> None:
        super().__init__(shown(message))
