"""Pages of the site that lie outside docs/: README.md in parts, others whole, each with its links as they stand there."""

import posixpath
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COURSE = ROOT / "build" / "course"  # written by `python -m docs.course`
WHOLE = {  # pages from outside docs/, and their places
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "reporting.md",  # docs/security.md has the other name
    "CHANGELOG.md": "changes.md",
    "data/README.md": "shipped_tables.md",
}
LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)\s#]+)(#[^)\s]*)?(?=\))")
README = {
    "#quick-start": "quick_start.md",
    "#your-own-data": "own_data.md",
    "#promote-serve-schedule": "own_data.md",
    "#the-code": "code.md",
}  # where its sections are
HOME = "docs/site/home.md"


def section(text: str, heading: str) -> str:
    """A section of a page, up to the next heading of its level.  Raises ValueError if it is not there."""
    (wanted,) = (part for part in re.split(r"(?m)^(?=## )", text) if part.startswith(f"## {heading}\n"))
    return wanted


def outside(text: str, folder: str, target: str) -> str:
    """A page of the repository as a page of the site: each link as it stands from `target`, where `folder` held the page.

    Links within docs/ lead to its pages; other files of the repository lie under files/.
    """

    def moved(link: re.Match[str]) -> str:
        path, anchor = posixpath.normpath(posixpath.join(folder, link[1])), link[2] or ""
        if not (ROOT / path).exists():
            return link[0]  # the strict build names it
        if path == "README.md":
            place = README.get(anchor, "index.md")
        elif path.startswith("docs/"):
            place = path.removeprefix("docs/")
        else:
            place = WHOLE.get(path, f"files/{path}")
        return posixpath.relpath(place, posixpath.dirname(target) or ".") + anchor

    return LINK.sub(moved, text)


def pages_from_outside() -> dict[str, str]:
    """Pages that lie outside docs/, by their place in the site: README.md as the first ones, home with a map; others whole."""
    text = outside((ROOT / "README.md").read_text(encoding="utf-8"), "", "index.md")
    home = text.split("\n## ")[0] + "\n\n" + (ROOT / HOME).read_text(encoding="utf-8")
    first = section(text, "Quick start").replace("## ", "# ", 1)
    own = section(text, "Your own data").replace("## ", "# ", 1) + section(text, "Promote, serve, schedule")
    code = section(text, "The code").replace("## ", "# ", 1)
    whole = {
        place: outside((ROOT / name).read_text(encoding="utf-8"), posixpath.dirname(name), place)
        for name, place in WHOLE.items()
    }
    return {"index.md": home, "quick_start.md": first, "own_data.md": own, "code.md": code} | whole


def course_pages() -> dict[str, str | Path]:
    """The course as it was last executed: texts and pictures by their place in the site; else its first page alone."""
    made = {f"lessons/{path.relative_to(COURSE).as_posix()}": path for path in sorted(COURSE.rglob("*")) if path.is_file()}
    if "lessons/index.md" in made:
        return dict(made)
    text = (ROOT / "docs" / "course" / "index.md").read_text(encoding="utf-8")
    return {"lessons/index.md": f"{text}\n*Not executed for this copy of the site: `make test-course`, then `make docs`.*\n"}


def linked_files(texts: list[str]) -> list[str]:
    """The files of the repository that pages of the site link as files/PATH."""
    return sorted({link for text in texts for link in re.findall(r"\]\((?:\.\./)*files/([^)\s#]+)[#)]", text)})
