"""The two ways in which lagline says no to its user; never a traceback and never a programming error."""


class UserError(Exception):
    """Something that the user can mend: one message that says what is wrong, where, and what to do (exit status 2)."""


class ChecksFailed(Exception):
    """The data was read and judged, and the answer is no (exit status 1)."""
