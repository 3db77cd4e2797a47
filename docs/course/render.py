"""Executes one lesson and writes it as Markdown with its outputs: text, tables and pictures.

A lesson is in jupytext's percent format: `# %%` begins a cell of code, `# %% [markdown]` one of text.  The
value of a cell's last line is shown as in a notebook.  `# %% fold` keeps the code of a cell out of sight until
it is opened.
"""

import ast
import contextlib
import io
import re
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MARK = re.compile(r"^# %%(?P<options>.*)$")
FOLD = "fold"


@dataclass(frozen=True)
class Cell:
    """A cell of a lesson; `line`: where in the file its first line is, counted from 1."""

    text: str
    line: int
    markdown: bool = False
    folded: bool = False


def cells_of(source: str) -> Iterator[Cell]:
    """The cells of a lesson in order; what stands before the first mark, its docstring, is none."""
    options, start, lines = None, 0, source.splitlines()
    for number, line in enumerate([*lines, "# %%"], 1):
        if not (mark := MARK.match(line)):
            continue
        if options is not None:
            inside = lines[start : number - 1]
            markdown = "[markdown]" in options
            text = [re.sub(r"^# ?", "", one) for one in inside] if markdown else inside
            yield Cell("\n".join(text).strip("\n"), start + 1, markdown, FOLD in options.split())
        options, start = mark["options"], number


def run_cell(cell: Cell, path: Path, names: dict[str, Any]) -> tuple[str, Any]:
    """Runs a cell of code; what it printed, and the value of its last line, None if that is no expression."""
    tree = ast.parse("\n" * (cell.line - 1) + cell.text, str(path))
    last = tree.body[-1] if tree.body else None
    shown = None
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        if isinstance(last, ast.Expr):
            tree.body.pop()
        exec(compile(tree, str(path), "exec"), names)
        if isinstance(last, ast.Expr):
            shown = eval(compile(ast.Expression(last.value), str(path), "eval"), names)
    return printed.getvalue(), shown


def table_text(table: Any) -> str:
    """A polars table in Markdown; null is an empty cell, numbers stand right."""
    numbers = [dtype.is_numeric() for dtype in table.dtypes]
    rule = ["--:" if number else ":--" for number in numbers]
    rows = [
        ["" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value) for value in row]
        for row in table.rows()
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in (table.columns, rule, *rows))


def title_of(figure: Any) -> str:
    """A picture's title in one line, for those who do not see it."""
    titles = [figure.get_suptitle(), *(ax.get_title(loc) for ax in figure.axes for loc in ("left", "center"))]
    return next((" ".join(title.split()) for title in titles if title), "")


def outputs(printed: str, shown: Any, place: Path) -> Iterator[str]:
    """What a cell shows, as blocks of Markdown; a picture is written to `place`."""
    if printed.strip():
        yield f"```text\n{printed.rstrip()}\n```"
    if hasattr(shown, "_repr_png_"):
        if not (title := title_of(shown)):
            raise ValueError(f"{place.name}: a picture needs a title")
        place.write_bytes(shown._repr_png_())
        yield f"![{title}]({place.name})"
    elif type(shown).__module__.startswith("polars"):
        yield table_text(shown)
    elif shown is not None:
        yield f"```text\n{shown!r}\n```"


def folded(code: str) -> str:
    """Code that a reader opens: the summary names it."""
    return f'<details markdown="1">\n<summary>The code of this picture</summary>\n\n{code}\n\n</details>'


def render(path: Path, folder: Path) -> Path:
    """Executes a lesson; writes `NAME.md` and its pictures into `folder`.

    Raises what the lesson raises, such as AssertionError where a claim does not hold.
    """
    module = types.ModuleType("lesson")
    module.__file__ = str(path)
    sys.modules["lesson"] = module  # where the dataclasses of a lesson are looked up
    blocks, pictures = [], 0
    for cell in cells_of(path.read_text(encoding="utf-8")):
        if cell.markdown:
            blocks.append(cell.text)
            continue
        printed, shown = run_cell(cell, path, module.__dict__)
        pictures += hasattr(shown, "_repr_png_")
        code = f"```python\n{cell.text}\n```"
        shows = outputs(printed, shown, folder / f"{path.stem}-{pictures}.png")
        blocks += [folded(code) if cell.folded else code, *shows]
    page = folder / f"{path.stem}.md"
    page.write_text("\n\n".join(blocks) + "\n", encoding="utf-8")
    return page


if __name__ == "__main__":
    render(Path(sys.argv[1]).resolve(), Path(sys.argv[2]))
