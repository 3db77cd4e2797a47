"""The report of a comparison as one web page that works offline; everything from the data is escaped."""

import base64
import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from params.evaluation import Measure
from tasks.compare.board import Board
from tasks.report import leaderboard as report
from tasks.report.columns import BY_NAME, Form
from tasks.train.kind import Kind
from tasks.validate.report import heading, report_lines
from tasks.validate.report import rows as check_rows
from tasks.validate.verdict import Verdict

STYLE = """
:root { color-scheme: light dark; --ink: #1a1a1a; --paper: #fff; --soft: #5c5c5c; --line: #ddd; --mark: #e3f0fa;
  --blue: #00659f; --bad: #b3261e; --warn: #8a6100; --good: #2e6b34 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8e8e8; --paper: #16181b; --soft: #a3a3a3; --line: #3a3d41; --mark: #12324a; --blue: #56b4e9;
    --bad: #ff8a80; --warn: #ffd166; --good: #8fd694 } }
body { margin: 2rem auto; padding: 0 1rem; max-width: 92rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif }
h1 { font-size: 1.6rem; margin: 0 0 .3rem }
h2 { font-size: 1.2rem; margin: 2.4rem 0 .5rem; border-bottom: 1px solid var(--line); padding-bottom: .2rem }
.lead { font-size: 1.1rem; max-width: 62rem }
nav a { color: var(--blue); margin-right: 1rem; text-decoration: none }
.scroll { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .92rem }
th, td { padding: .3rem .5rem; text-align: left; white-space: nowrap; border-bottom: 1px solid var(--line) }
th { color: var(--soft); font-weight: 600; white-space: normal; vertical-align: bottom }
td.long { white-space: normal; min-width: 16rem }
.n { text-align: right }
.chosen td { background: var(--mark); font-weight: 600 }
.chosen td:nth-child(2) { color: var(--blue) }
.quiet td { color: var(--soft) }
.fail { color: var(--bad) } .warn, .drop { color: var(--warn) } .ok { color: var(--good) }
ul { padding-left: 1.1rem; color: var(--soft) }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem; overflow-wrap: anywhere }
dt, figcaption, .note { color: var(--soft) }
dd { margin: 0 }
figure { margin: 1rem 0 }
img { max-width: 100%; height: auto; background: #fff; border-radius: 4px }
pre { background: var(--mark); padding: .8rem 1rem; border-radius: 4px; white-space: pre-wrap; overflow-wrap: anywhere }
"""


@dataclass(frozen=True)
class Section:
    """A part of the page: `pictures` are (caption, PNG, PNG for a phone or None); `body` is HTML that is escaped already."""

    name: str
    title: str
    note: str = ""
    pictures: Sequence[tuple[str, bytes, bytes | None]] = field(default_factory=tuple)
    body: str = ""

    def html(self) -> str:
        """The section; nothing where it would be empty."""
        if not self.pictures and not self.body:
            return ""
        note = f'<p class="note">{html.escape(self.note)}</p>' if self.note else ""
        figures = "".join(figure(*picture) for picture in self.pictures)
        return f'<section id="{self.name}"><h2>{html.escape(self.title)}</h2>{note}{self.body}{figures}</section>'


def page(title: str, words: str, sections: Sequence[Section]) -> str:
    """The whole page; it loads nothing from anywhere and runs nothing."""
    parts_of = [(section, section.html()) for section in sections]
    links = "".join(f'<a href="#{section.name}">{html.escape(section.title)}</a>' for section, text in parts_of if text)
    parts = [
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">",
        f"<title>{html.escape(title)}</title><style>{STYLE}</style></head><body>",
        f'<h1>{html.escape(title)}</h1><p class="lead">{html.escape(words)}</p><nav>{links}</nav>',
        *(text for _, text in parts_of),
        "</body></html>\n",
    ]
    return "\n".join(parts)


def table(board: Board, columns: Sequence[str], choose_by: Measure = "mae") -> str:
    """Columns of the leaderboard, the chosen row marked, baselines quiet."""
    columns = report.shown(board.rows, columns, choose_by)
    heads = "".join(f'<th scope="col"{_side(column)}>{BY_NAME[column].heading}</th>' for column in columns)
    body = []
    for row, texts in zip(board.rows, report.rendered(board), strict=True):
        looks = "quiet" if row.score is None or row.kind is Kind.BASELINE else ""
        looks = "chosen" if row is board.chosen else looks
        cells = "".join(f"<td{_side(column)}>{html.escape(texts[column])}</td>" for column in columns)
        body.append(f'<tr class="{looks}">{cells}</tr>')
    return f'<div class="scroll"><table><thead><tr>{heads}</tr></thead><tbody>{"".join(body)}</tbody></table></div>'


def bullets(lines: Sequence[str]) -> str:
    """Lines of text as a list."""
    return f"<ul>{''.join(f'<li>{html.escape(line)}</li>' for line in lines)}</ul>" if lines else ""


def facts(pairs: Mapping[str, str | bool | None]) -> str:
    """Names and values."""
    return f"<dl>{''.join(f'<dt>{html.escape(str(k))}</dt><dd>{html.escape(str(v))}</dd>' for k, v in pairs.items())}</dl>"


def code(text: str) -> str:
    """A command, or a file."""
    return f"<pre>{html.escape(text)}</pre>"


def folded(title: str, body: str) -> str:
    """What opens on a click."""
    return f"<details><summary>{html.escape(title)}</summary>{body}</details>"


def checks(verdict: Verdict) -> str:
    """The verdict of the data checks: what did not pass in words, then all of them."""
    answer = '<b class="ok">passed</b>' if verdict.passed else '<b class="fail">failed</b>'
    words = f"<p>{html.escape(heading(verdict))}: {answer}</p>"
    return words + bullets(report_lines(verdict)) + folded("all checks", check_rows(verdict))


def figure(caption: str, image: bytes, narrow: bytes | None = None) -> str:
    """A picture with its caption; on a screen as narrow as a phone's another one, where there is one."""
    text = html.escape(caption)
    small = "" if narrow is None else f'<source media="(max-width: 600px)" srcset="{_data(narrow)}">'
    picture = f'<picture>{small}<img alt="{text}" src="{_data(image)}"></picture>'
    return f"<figure>{picture}<figcaption>{text}</figcaption></figure>"


def grid(heads: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """A table of texts, its last columns numbers: all but the first."""
    side = [""] + [' class="n"'] * (len(heads) - 1)
    top = "".join(f'<th scope="col"{at}>{html.escape(head)}</th>' for at, head in zip(side, heads, strict=True))
    rows = ("".join(f"<td{at}>{html.escape(cell)}</td>" for at, cell in zip(side, row, strict=True)) for row in body)
    inner = "".join(f"<tr>{row}</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{inner}</tbody></table></div>'


def _data(image: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(image).decode()}"


def _side(column: str) -> str:
    return "" if BY_NAME[column].form is Form.TEXT else ' class="n"'
