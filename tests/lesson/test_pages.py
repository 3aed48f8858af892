"""Tests that the lesson's pages do what they say: every block runs, and prints what is below it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.lesson import page
from tests.lesson.page import DOCS, PAGES, Step
from tests.lesson.printouts import difference

# All blocks run before the first test.
pytestmark = pytest.mark.timeout(600)

# Other processors and versions round differently, and five thousand epochs pass it on.
RELATIVE = 0.05


@pytest.fixture(name="folder", scope="module")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lesson")
    (folder / "images").mkdir()
    return folder


@pytest.fixture(name="steps", scope="module")
def _steps() -> list[Step]:
    return page.steps(PAGES[0])


@pytest.fixture(name="printed", scope="module")
def _printed(steps: list[Step], folder: Path) -> list[str]:
    return list(page.run([step.code for step in steps], folder))


@pytest.mark.slow
def test_every_block_prints_what_stands_below_it(steps: list[Step], printed: list[str]) -> None:
    """Words exactly, learned numbers within a tolerance."""
    wrong = [
        difference(step.output or "", output, RELATIVE)
        for step, output in zip(steps, printed, strict=True)
        if not step.mark
    ]

    assert [] == [text for text in wrong if text]


@pytest.mark.slow
@pytest.mark.parametrize("mark", ["varies", "roughly"])
def test_what_depends_on_the_machine_has_the_words_of_the_page(
    steps: list[Step], printed: list[str], mark: str
) -> None:
    """Rows a second, and how many of a hundred starts fail: the same lines, other numbers."""
    (pair,) = (
        (step.output or "", output)
        for step, output in zip(steps, printed, strict=True)
        if step.mark == mark
    )

    assert len({re.sub(r" *\d+", "#", text) for text in pair}) == 1


@pytest.mark.slow
def test_many_starts_fail_at_the_line_s_learning_rate(
    steps: list[Step], printed: list[str]
) -> None:
    """Not one does at the network's own."""
    (text,) = (
        output for step, output in zip(steps, printed, strict=True) if step.mark == "roughly"
    )

    failed = {rate: int(count) for rate, count in re.findall(r"rate (\S+): (\d+) of 100", text)}
    assert failed["0.001"] == 0
    assert 15 < failed["0.01"] < 45


def test_both_languages_run_the_same_code_and_show_the_same_output() -> None:
    """Comments and docstrings are translated, what they comment on is not."""
    english, korean = (page.steps(name) for name in PAGES)

    assert [page.meaning(step.code) for step in english] == [
        page.meaning(step.code) for step in korean
    ]
    assert [step.output for step in english] == [step.output for step in korean]


@pytest.mark.slow
@pytest.mark.parametrize("name", PAGES)
def test_the_pictures_of_a_page_are_those_that_its_code_draws(
    name: str, folder: Path, printed: list[str]
) -> None:
    """Each is shown and committed, and small."""
    assert printed
    shown = re.findall(r"!\[[^]]+\]\(images/([^)]+)\)", (DOCS / name).read_text(encoding="utf-8"))
    drawn = sorted(path.name for path in (folder / "images").iterdir())

    assert drawn == sorted(shown)
    assert all((DOCS / "images" / picture).stat().st_size < 60_000 for picture in drawn)


@pytest.mark.parametrize("name", PAGES)
def test_every_link_of_a_page_leads_somewhere(name: str) -> None:
    """Relative links are files beside the page."""
    text = (DOCS / name).read_text(encoding="utf-8")
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    links = re.findall(r"\]\(([^)#:]+)\)", prose)

    assert links
    assert [] == [link for link in links if not (DOCS / link).exists()]


def test_no_block_is_left_out_by_the_form_of_its_fence() -> None:
    """What looks like Python or like output to a reader is run, or compared."""
    for name in PAGES:
        text = (DOCS / name).read_text(encoding="utf-8")
        fences = re.findall(r"^```(\w+)", text, re.MULTILINE)
        found = page.steps(name)
        assert fences.count("python") == len(found)
        assert fences.count("text") == sum(step.output is not None for step in found)
        assert set(fences) == {"console", "python", "text"}
