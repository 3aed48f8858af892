"""docs/metrics.md says what the families' definitions say."""

from __future__ import annotations

from isotherm.server.families import SECTIONS
from tests.architecture.metrics_page import rewritten
from tests.deploy.observability.metric_names import documented_families
from tests.deploy.places import METRICS_PAGE


def test_the_page_is_what_the_definitions_make_of_it() -> None:
    """Run `python -m tests.architecture.metrics_page --write` after a change of a family."""
    page = METRICS_PAGE.read_text()

    assert rewritten(page) == page


def test_every_family_is_on_the_page_with_its_kind_and_labels() -> None:
    """What reads the page, for expressions and promises, finds what was defined."""
    defined = [family for section in SECTIONS for family in section.families]
    documented = {family.name: (family.type, family.labels) for family in documented_families()}

    assert documented == {f.name: (f.kind, frozenset(f.labels)) for f in defined}


def test_help_texts_are_sentences_of_plain_text() -> None:
    """Prometheus shows them as they are, without Markdown."""
    for section in SECTIONS:
        for family in section.families:
            assert family.help[0] == family.help[0].upper()
            assert family.help.endswith(".")
            assert "`" not in family.help


def test_closed_lists_are_of_labels_that_the_family_has() -> None:
    """A list of a label that is not there would never be compared with a scrape."""
    for section in SECTIONS:
        for family in section.families:
            assert set(family.values) <= set(family.labels), family.name
