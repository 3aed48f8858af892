"""The lesson's pages: their Python runs in order, and writes what stands below it.

    python tests/lesson/page.py --write

puts the printouts into docs/lesson.md and docs/lesson.ko.md, and the pictures into docs/images.
"""

from __future__ import annotations

import ast
import io
import os
import re
import sys
from collections.abc import Iterator
from contextlib import chdir, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from isotherm.trainer import copies

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ("lesson.md", "lesson.ko.md")

# A block of Python, and the block of text that follows it at once, if one does.
_STEP = re.compile(
    r"^```python\n(?P<code>.*?)^```\n(?:\n```text(?P<mark> \w+)?\n(?P<output>.*?)^```\n)?",
    re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Step:
    """One block of code, and what the page says that it prints.

    Attributes:
        output: None where the page shows none, because nothing is printed.
        mark: "varies" where the output depends on the machine, "roughly" where numbers may differ
            more than elsewhere, else "".
    """

    code: str
    output: str | None
    mark: str


def steps(page: str) -> list[Step]:
    """Return the steps of a page in docs/."""
    text = (DOCS / page).read_text(encoding="utf-8")
    return [
        Step(match["code"], match["output"], (match["mark"] or "").strip())
        for match in _STEP.finditer(text)
    ]


def run(code: list[str], folder: Path) -> Iterator[str]:
    """Run blocks of code in one namespace, inside `folder`; yield what each prints."""
    namespace: dict[str, object] = {"__name__": "lesson"}
    for number, block in enumerate(code, start=1):
        printed = io.StringIO()
        # On a busy machine, two threads for eleven rows take three times as long as one.
        with chdir(folder), redirect_stdout(printed), copies.one_thread():
            exec(compile(block, f"block {number}", "exec"), namespace)  # noqa: S102  our own page
        yield printed.getvalue()


def meaning(code: str) -> str:
    """Return what the code does, without what the pages translate: comments, docstrings."""
    tree = ast.parse(code)
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef) and ast.get_docstring(function):
            del function.body[0]
    return ast.dump(tree)


def write() -> None:
    """Run the English page inside docs/, and put the printouts into both pages."""
    outputs = list(run([step.code for step in steps(PAGES[0])], DOCS))
    for name in PAGES:
        page = DOCS / name
        waiting = iter(outputs)

        def filled(match: re.Match[str], waiting: Iterator[str] = waiting) -> str:
            output = next(waiting)
            text = f"\n```text{match['mark'] or ''}\n{output}```\n" if output else ""
            return f"```python\n{match['code']}```\n{text}"

        page.write_text(_STEP.sub(filled, page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit(__doc__)
    os.environ.setdefault("MPLBACKEND", "agg")
    write()
