"""MkDocs hooks of the site: adds the pages made from the code, README and the course, and carries files linked outside docs/."""

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

from docs.site.reference import pages

ROOT = Path(__file__).resolve().parents[2]
COURSE = ROOT / "build" / "course"  # written by `python -m docs.course`
WHOLE = ("CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "data/README.md")  # pages from outside docs/
LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)\s#]+)(#[^)\s]*)?(?=\))")
README = {"#quick-start": "quick-start.md", "#your-own-data": "own-data.md", "#promote-serve-schedule": "own-data.md", "#the-code": "code.md"}
HOME = "docs/site/home.md"


def section(text: str, *headings: str) -> str:
    """Sections of a page, each up to the next heading of its level.  Raises ValueError if one is not there."""
    parts = re.split(r"(?m)^(?=## )", text)
    return "".join(next(part for part in parts if part.startswith(f"## {one}\n")) for one in headings)


def outside(text: str, folder: str, target: str) -> str:
    """A page of the repository as a page of the site: each link as it stands from `target`, where `folder` held the page.

    Links within docs/ lead to its pages; other files of the repository lie under files/.
    """

    def moved(found: re.Match[str]) -> str:
        path, anchor = posixpath.normpath(posixpath.join(folder, found[1])), found[2] or ""
        if not (ROOT / path).exists():
            return found[0]  # the strict build names it
        if path == "README.md":
            place = README.get(anchor, "index.md")
        else:
            place = path.removeprefix("docs/") if path.startswith("docs/") or path in WHOLE else f"files/{path}"
        return posixpath.relpath(place, posixpath.dirname(target) or ".") + anchor

    return LINK.sub(moved, text)


def readme_pages() -> dict[str, str]:
    """README.md as the first pages of the site; the first one with a map of the others."""
    text = outside((ROOT / "README.md").read_text(encoding="utf-8"), "", "index.md")
    home = text.split("\n## ")[0] + "\n\n" + (ROOT / HOME).read_text(encoding="utf-8")
    first = section(text, "Quick start").replace("## ", "# ", 1)
    own = section(text, "Your own data").replace("## ", "# ", 1) + section(text, "Promote, serve, schedule")
    code = section(text, "The code").replace("## ", "# ", 1)
    return {"index.md": home, "quick-start.md": first, "own-data.md": own, "code.md": code}


def on_config(config: Any) -> Any:
    """Puts the course into the menu, where it has been made, and its chapters in order."""
    chapters = sorted(path.name for path in COURSE.glob("*.md"))
    if chapters:
        place = next(number for number, entry in enumerate(config.nav) if "How-to" in entry)
        config.nav.insert(place, {"Course": [f"course/{name}" for name in chapters]})
    return config


def on_files(files: Files, config: Any) -> Files:
    """Adds the made pages, and every file that a page links outside docs/."""
    made = readme_pages()
    for name in WHOLE:
        made[name] = outside((ROOT / name).read_text(encoding="utf-8"), posixpath.dirname(name), name)
    made |= pages()
    for name, text in made.items():
        files.append(File.generated(config, name, content=text))
    for path in sorted(COURSE.rglob("*")) if COURSE.is_dir() else []:
        if path.is_file():
            files.append(File.generated(config, f"course/{path.relative_to(COURSE).as_posix()}", abs_src_path=str(path)))
    texts = [*made.values(), *(outside(file.content_string, "docs", file.src_uri) for file in files.documentation_pages())]
    for path in sorted({link for text in texts for link in re.findall(r"\((?:\.\./)*files/([^)\s#]+)\)", text)}):
        files.append(File.generated(config, f"files/{path}", abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links of a page in docs/ that lead out of it."""
    committed = (ROOT / "docs" / page.file.src_uri).is_file()
    return outside(markdown, "docs", page.file.src_uri) if committed else markdown
