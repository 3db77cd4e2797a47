"""tasks/pages.py: a web page is offline, and nothing of the data breaks out of its place."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

from tasks import pages
from tasks.compare.board import Board, ScoreRow
from tasks.report.columns import ACCURACY
from tasks.report.leaderboard import remarks, to_html
from tasks.validate.report import checks, rows
from tasks.validate.verdict import Finding, Verdict

EVIL = "<script>alert(1)</script> & \" ' [red]x[/red] </pre></details>"


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: dict[str, int] = {}
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] = self.tags.get(tag, 0) + 1
        for name, value in attrs:
            assert not name.startswith("on")
            assert name != "src" or str(value).startswith("data:image/png;base64,")
            assert name != "href" or str(value).startswith("#")
        if tag in ("section", "details", "pre", "table", "ul", "dl"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in ("section", "details", "pre", "table", "ul", "dl"):
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def read(text: str) -> Tags:
    parser = Tags()
    parser.feed(text)
    assert parser.open == []
    return parser


def evil_board() -> Board:
    rows = [
        {"name": "lstm", "kind": "variant", "status": "finished", "val_mae": 4.0, "test_mae": 4.25, "seeds": 1},
        {"name": EVIL, "kind": "variant", "status": "failed", "note": EVIL},
        {"name": "last_value", "kind": "baseline", "status": "finished", "val_mae": 5.0, "test_mae": 5.5},
    ]
    return Board.of(map(ScoreRow.read, rows))


def evil_verdict() -> Verdict:
    finding = Finding(EVIL, "warn", False, EVIL, [EVIL], 0.5, None, 0.1, EVIL, "share")
    facts = {"rows": 10, "series": 1, "first": EVIL, "last": EVIL}
    return Verdict(True, [finding], [EVIL], [EVIL], facts, [])


def test_everything_from_the_data_is_text_and_nothing_is_loaded() -> None:
    board = evil_board()
    sections = [
        pages.Section("a", EVIL, EVIL, [pages.figure(EVIL, b"PNG")], to_html(board, ACCURACY) + pages.bullets(remarks(board))),
        pages.Section("b", "b", "", (), checks(evil_verdict()) + rows(evil_verdict())),
        pages.Section("c", "c", "", (), pages.code(EVIL) + pages.facts({EVIL: EVIL}) + pages.folded(EVIL, pages.code(EVIL))),
    ]
    text = pages.page(EVIL, EVIL, sections)
    found = read(text)
    assert "script" not in found.tags and "red" not in found.tags
    for word in ("http://", "https://", "@import", "url(", "javascript:"):
        assert word not in text
    assert "default-src 'none'" in text and "prefers-color-scheme: dark" in text
    assert found.text.count("<script>alert(1)</script>") >= 10
    assert "lstm *" in found.text and "4.250" in found.text


def test_empty_sections_are_left_out_and_not_linked() -> None:
    none = pages.Section("none", "Nothing", "note")
    some, other = (pages.Section(name, name.title(), "", (), pages.code("x")) for name in ("some", "other"))
    text = pages.page("t", "w", [none, some])
    assert "Nothing" not in text and read(text).tags["section"] == 1 and "nav" not in read(text).tags
    text = pages.page("t", "w", [some, other])
    assert 'href="#some"' in text and read(text).tags["nav"] == 1


def test_text_that_stands_in_the_place_of_html_is_escaped() -> None:
    section = pages.Section("a", "A", body=pages.bullets(["x"]) + EVIL)  # type: ignore[operator]
    assert "script" not in read(pages.page("t", "w", [section])).tags
    assert "<script" not in pages.folded("t", EVIL)  # type: ignore[arg-type]


def test_a_table_says_what_its_cells_are() -> None:
    text = pages.grid(("name", "value"), [("a", "1")])
    assert '<th scope="col">name</th><th scope="col" class="n">value</th>' in text
    assert '<tr><td>a</td><td class="n">1</td></tr>' in text
    assert pages.folded("more", pages.code("x")) == "<details><summary>more</summary><pre>x</pre></details>"


def test_only_the_script_of_ours_may_run_and_data_stay_data() -> None:
    given = {EVIL: [EVIL, "</script><script>alert(2)</script>", "<!--<script>", 1.5, None]}
    still = pages.figure(EVIL, b"PNG")
    top = pages.marks([("ok", EVIL, "yes", EVIL), ("fail", "q", "no", "w")]) + pages.chooser(
        given, EVIL, {"model": EVIL}, still
    )
    text = pages.page(EVIL, EVIL, [pages.Section("a", "A", body=pages.code("x"), folded=True)], top, "chooser.js")
    assert read(text).tags["script"] == 2  # the data, and the script
    blocks = re.findall(r"<script([^>]*)>(.*?)</script>", text, re.DOTALL)
    assert [attributes for attributes, _ in blocks] == [' type="application/json" id="chooser-data"', ""]
    assert json.loads(blocks[0][1]) == given and not {*"<>&"} & {*blocks[0][1]}
    ours = blocks[1][1]
    assert ours == (pages.TEMPLATES / "chooser.js").read_text() and "</" not in ours and "innerHTML" not in ours
    seal = base64.b64encode(hashlib.sha256(ours.encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{seal}'\"" in text
    assert "script-src" not in pages.page("t", "w", [])
    assert "\N{CHECK MARK}" in text and "\N{BALLOT X}" in text and ">yes<" in text  # a sign and a word


def test_a_folded_part_has_its_link_inside_so_that_a_browser_opens_it() -> None:
    """A browser opens the folded element that holds the target of a link, and so needs no script."""
    some, other = (pages.Section(name, name.title(), "", (), pages.code("x"), folded=True) for name in ("some", "other"))
    text = pages.page("t", "w", [some, other])
    assert 'href="#some"' in text and read(text).tags["details"] == 2
    assert re.search(r'<details class="part"><summary><h2>Some</h2></summary><div id="some">', text)
