"""MkDocs hooks: adds pages made from the code, README and the course, and the files outside docs/ that a page links."""

import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.structure.files import File, Files

from docs.site.pages import ROOT, course_pages, linked_files, outside, pages_from_outside
from docs.site.reference import reference_pages

CODE = re.compile(r"((?:^```.*?^```$)|`[^`\n]+`)", re.MULTILINE | re.DOTALL)
FORMULA = re.compile(r"\$([^$\n]+)\$")


def on_config(config: Any) -> Any:
    """Puts the course into the menu, its lessons in order."""
    lessons = sorted((name for name in course_pages() if name.endswith(".md")), key=lambda name: ("index" not in name, name))
    place = next(number for number, entry in enumerate(config.nav) if "How-to" in entry)
    config.nav.insert(place, {"Course": lessons})
    return config


def on_files(files: Files, config: Any) -> Files:
    """Adds the made pages, and every file that a page links outside docs/."""
    texts = {file.src_uri: outside(file.content_string, "docs", file.src_uri) for file in files.documentation_pages()}
    made = pages_from_outside() | reference_pages()
    for name, page in (made | course_pages()).items():
        held = {"abs_src_path": str(page)} if isinstance(page, Path) else {"content": page}
        files.append(File.generated(config, name, **held))
    for path in linked_files([*texts.values(), *made.values()]):
        files.append(File.generated(config, f"files/{path}", abs_src_path=str(ROOT / path)))
    return files


def with_formulas(text: str) -> str:
    """A lesson whose formulas, TeX between dollars, are MathML, which browsers draw by themselves."""
    parts = CODE.split(text)  # what lies between code, and code, in turn
    parts[::2] = [FORMULA.sub(lambda match: convert(match[1]), part) for part in parts[::2]]
    return "".join(parts)


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links of a page in docs/ that lead out of it; formulas of a lesson."""
    if page.file.src_uri.startswith("lessons/"):
        return with_formulas(markdown)
    committed = (ROOT / "docs" / page.file.src_uri).is_file()
    return outside(markdown, "docs", page.file.src_uri) if committed else markdown
