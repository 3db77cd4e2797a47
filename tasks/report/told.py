"""What is said of a comparison: the verdict, why no variant won, and what to type next."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from params.evaluation import Measure
from tasks.report.verdict import Conclusion


@dataclass(frozen=True)
class Reason:
    """A fact that counts against the networks, and what would change it: settings (`key=value`) and a file.

    `file`: path and text of a file to write first, both empty if there is none.
    """

    words: str
    settings: tuple[str, ...] = ()
    file: tuple[str, str] = ("", "")

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> "Reason":
        """The inverse of `dataclasses.asdict`, from JSON.  Raises LookupError, TypeError or ValueError."""
        path, text = raw["file"]
        return cls(str(raw["words"]), tuple(map(str, raw["settings"])), (str(path), str(text)))


@dataclass(frozen=True)
class Told:
    """What is said of a comparison: its verdict, its measure, and a note.

    If no variant won, the proven reasons (else None), and the command that ran."""

    verdict: Conclusion
    choose_by: Measure = "mae"
    note: str = ""
    reasons: tuple[Reason, ...] | None = None
    command: str = ""

    @classmethod
    def read(cls, verdict: Conclusion, leaderboard: Mapping[str, Any]) -> "Told":
        """The texts in leaderboard.json; one of lagline 0.2 has none."""
        reasons = leaderboard.get("reasons")
        parsed = None if reasons is None else tuple(Reason.read(raw) for raw in reasons)
        note, command = (str(leaderboard.get(name) or "") for name in ("note", "command"))
        return cls(verdict, leaderboard.get("choose_by", "mae"), note, parsed, command)

    def lines(self) -> list[str]:
        """What follows the verdict: why no variant won, what to type, the note."""
        lines = [] if self.reasons is None else lines_of(self.reasons, self.command)
        return [*lines, *([f"Note: {self.note}"] if self.note else [])]

    def markdown(self) -> str:
        """The verdict and what follows it, with the commands as code."""
        parts = [self.verdict.markdown()]
        if self.reasons is not None:
            first, *rest = lines_of(self.reasons, "")
            parts += [first, "\n".join(line for line in rest if line.startswith("- "))]
            commands = next_commands(self.reasons, self.command)
            parts += ["To try:", "\n".join(f"    {command}" for command in commands)] if commands else []
        return "\n\n".join(part for part in (*parts, f"Note: {self.note}" if self.note else "") if part)


def lines_of(reasons: Sequence[Reason], command: str) -> list[str]:
    """The reasons in words, and the commands that would change them.  `command`: the command that ran."""
    if not reasons:
        return ["Why is not proven: the windows hold the seasons, no level moved, the trainings were neither cut nor too fast."]
    lines = ["Why, as far as it is proven:", *(f"- {reason.words}" for reason in reasons)]
    commands = next_commands(reasons, command)
    return [*lines, *(["To try:", *(f"  {suggestion}" for suggestion in commands)] if commands else [])]


def next_commands(reasons: Sequence[Reason], command: str) -> list[str]:
    """What to type: the comparison with every setting; separately what needs a file first."""
    plain = [setting for reason in reasons if not reason.file[0] for setting in reason.settings]
    commands = [_again(command, plain)] if plain else []
    for reason in reasons:
        path, text = reason.file
        if path:
            quoted = shlex.quote(text.replace("\n", r"\n"))
            commands.append(f"printf {quoted} > {shlex.quote(path)} && {_again(command, reason.settings)}")
    return commands


def _again(command: str, settings: Sequence[str]) -> str:
    """The command with some settings, each replacing one with the same key."""
    keys, words, kept = {setting.partition("=")[0] for setting in settings}, shlex.split(command), []
    while words:
        word = words.pop(0)
        if word == "--set" and words and words[0].partition("=")[0] in keys:
            words.pop(0)
        else:
            kept.append(word)
    return " ".join([shlex.join(kept), *(f"--set {shlex.quote(setting)}" for setting in settings)])
