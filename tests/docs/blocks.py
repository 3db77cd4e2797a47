"""The blocks of code of README.md and the docs, with what stands above them about running them."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = (
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "data/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
)
CODE = ("bash", "console", "python", "yaml")  # what is run, or read by the program
SHOWN = ("json", "text")  # what a program said, and drawings
MARK = re.compile(r"<!-- (no-run|run-by): (.+) -->")
PAGE_MARK = re.compile(r"<!-- page run-by: (.+) -->")


@dataclass(frozen=True, kw_only=True)
class Block:
    """A block of code; `no_run`: why it is not run, `run_by`: the test that runs it; empty where nothing is said."""

    page: str
    line: int
    language: str
    text: str
    no_run: str = ""
    run_by: str = ""

    @property
    def commands(self) -> list[list[str]]:
        """The command lines of a shell block as words, without comments; in a transcript those after a $."""
        text = self.text
        if self.language == "console":
            text = "\n".join(line[2:] for line in text.splitlines() if line.startswith("$ "))
        joined = text.replace("\\\n", " ")
        return [words for words in (shlex.split(line, comments=True) for line in _whole_lines(joined)) if words]


def _whole_lines(text: str) -> Iterator[str]:
    """Lines of a shell, each with those that an open quote takes along."""
    held = ""
    for line in text.splitlines():
        held = f"{held} {line.strip()}" if held else line
        if re.sub(r"#.*", "", held).count("'") % 2 == 0:
            yield held
            held = ""
    if held:
        raise ValueError(f"a quote is never closed: {held}")


def blocks_of(page: Path) -> list[Block]:
    """All blocks of a page, in order; a `page run-by` holds for its code that has no mark of its own."""
    found, lines = [], page.read_text(encoding="utf-8").splitlines()
    whole = next(filter(None, map(PAGE_MARK.fullmatch, lines)), None)
    number = 0
    while number < len(lines):
        fence = re.fullmatch(r"( *)```(\S*)", lines[number])
        if fence is None:
            number += 1
            continue
        end = next(later for later in range(number + 1, len(lines)) if lines[later].strip() == "```")
        mark = MARK.fullmatch(lines[number - 1].strip()) if number else None
        said = {mark[1].replace("-", "_"): mark[2]} if mark else {}
        if whole and not mark and fence[2] in ("bash", "python"):
            said = {"run_by": whole[1]}
        text = "".join(f"{line.removeprefix(fence[1])}\n" for line in lines[number + 1 : end])
        name = page.relative_to(ROOT).as_posix()
        found.append(Block(page=name, line=number + 1, language=fence[2], text=text, **said))
        number = end + 1
    return found


def all_blocks() -> list[Block]:
    """All blocks of all pages."""
    return [block for page in PAGES for block in blocks_of(page)]
