"""Errors that lagline reports to its user; their text is filtered for secrets and control characters."""

from params.shown import shown


def clipped(text: str, most: int = 60) -> str:
    """The text, cut if too long for a message; filtered first, since half a secret is not recognised."""
    text = shown(text)
    return text if len(text) <= most else f"{text[: most - 3]}..."


class UserError(Exception):
    """An error that the user can correct; one message says what is wrong, where, and what to do (exit status 2)."""

    def __init__(self, message: str) -> None:
        super().__init__(shown(message))


class Unavailable(UserError):
    """A server does not answer, or a disk is full: the same command may succeed later, unchanged."""


class ChecksFailed(Exception):
    """The checks of a table, a network or a baseline were run, and the answer is no (exit status 1)."""

    def __init__(self, message: str) -> None:
        super().__init__(shown(message))
