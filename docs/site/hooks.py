"""MkDocs hooks: adds pages made from the code, README and the course, and the files outside docs/ that a page links."""

from typing import Any

from mkdocs.structure.files import File, Files

from docs.site.pages import COURSE, ROOT, linked_files, outside, pages_from_outside
from docs.site.reference import reference_pages


def on_config(config: Any) -> Any:
    """Puts the course into the menu, where it has been made, and its chapters in order."""
    chapters = sorted((path.name for path in COURSE.glob("*.md")), key=lambda name: (name != "index.md", name))
    if chapters:
        place = next(number for number, entry in enumerate(config.nav) if "How-to" in entry)
        config.nav.insert(place, {"Course": [f"course/{name}" for name in chapters]})
    return config


def on_files(files: Files, config: Any) -> Files:
    """Adds the made pages, and every file that a page links outside docs/."""
    texts = {file.src_uri: outside(file.content_string, "docs", file.src_uri) for file in files.documentation_pages()}
    made = pages_from_outside() | reference_pages()
    for name, text in made.items():
        files.append(File.generated(config, name, content=text))
    course = [path for path in sorted(COURSE.rglob("*")) if path.is_file()]
    for file in course:
        files.append(File.generated(config, f"course/{file.relative_to(COURSE).as_posix()}", abs_src_path=str(file)))
    for path in linked_files([*texts.values(), *made.values()]):
        files.append(File.generated(config, f"files/{path}", abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links of a page in docs/ that lead out of it."""
    committed = (ROOT / "docs" / page.file.src_uri).is_file()
    return outside(markdown, "docs", page.file.src_uri) if committed else markdown
