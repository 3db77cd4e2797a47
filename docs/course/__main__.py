"""`python -m docs.course FOLDER [LESSON ...]`: executes the lessons and writes them as Markdown with pictures.

Each lesson is a process of its own, as many at once as there are cores.  Exit status 1 where a lesson fails,
with its traceback.
"""

import ast
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
LESSONS = tuple(sorted(HERE.glob("[0-9][0-9]_*.py")))


def execute(lesson: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Executes one lesson in a process with one thread, which ends with its words on standard error."""
    ours = os.environ | {"OMP_NUM_THREADS": "1", "MPLBACKEND": "agg", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "docs.course.render", str(lesson), str(folder.resolve())]
    return subprocess.run(command, cwd=ROOT, env=ours, capture_output=True, text=True)


def about(lesson: Path) -> str:
    """The first line of a lesson's docstring."""
    return (ast.get_docstring(ast.parse(lesson.read_text(encoding="utf-8"))) or "").split("\n")[0]


def write_index(folder: Path) -> None:
    """Writes `index.md`: what the course is, and its lessons."""
    text = (HERE / "index.md").read_text(encoding="utf-8")
    rows = [f"{number}. [{about(lesson)}]({lesson.stem}.md)" for number, lesson in enumerate(LESSONS, 1)]
    (folder / "index.md").write_text(text.rstrip() + "\n\n" + "\n".join(rows) + "\n", encoding="utf-8")


def main(folder: Path, names: list[str]) -> int:
    """Executes the lessons, or those of some names; the exit status."""
    folder.mkdir(parents=True, exist_ok=True)
    chosen = [lesson for lesson in LESSONS if not names or lesson.stem in names]
    write_index(folder)
    failed = 0

    def timed(lesson: Path) -> tuple[subprocess.CompletedProcess[str], float]:
        start = time.perf_counter()
        return execute(lesson, folder), time.perf_counter() - start

    chosen.reverse()  # the longest is the last
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for lesson, (done, seconds) in zip(chosen, pool.map(timed, chosen), strict=True):
            failed += done.returncode != 0
            print(f"{lesson.stem}: {'failed' if done.returncode else 'done'} in {seconds:.0f} s", flush=True)
            if done.returncode:
                print(done.stderr, file=sys.stderr)
    return int(failed > 0)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python -m docs.course FOLDER [LESSON ...]")
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
