"""The pages of the alerts: one each, with all that who was woken needs."""

import re

import pytest
import yaml

from tests.deploy.observability.metric_names import documented_samples, recorded_samples, used_names
from tests.deploy.places import RULES, RUNBOOKS

ALERTS = {
    rule["alert"]: rule
    for group in yaml.safe_load(RULES.read_text())["groups"]
    for rule in group["rules"]
    if "alert" in rule
}
PAGES = {path.stem: path.read_text() for path in sorted(RUNBOOKS.glob("*.md"))}

every_page = pytest.mark.parametrize("name", PAGES)


def test_every_alert_has_its_page_and_every_page_its_alert():
    """A page of an alert that is gone goes, too."""
    assert ALERTS.keys() == PAGES.keys()


@every_page
def test_a_page_answers_the_four_questions(name):
    """What it means, whom it hurts, where to look, what to do."""
    headings = re.findall(r"^## (.*)$", PAGES[name], re.MULTILINE)

    assert PAGES[name].startswith(f"# {name}\n")
    assert headings == ["Meaning", "Impact", "Look at", "Do"]
    assert all(len(part.split()) > 8 for part in re.split(r"^## .*$", PAGES[name], flags=re.M)[1:])


@every_page
def test_a_page_has_queries_of_metrics_that_exist(name):
    """A renamed metric breaks the page, too."""
    queries = re.findall(r"^```promql\n(.*?)^```$", PAGES[name], re.MULTILINE | re.DOTALL)
    known = documented_samples().keys() | recorded_samples().keys() | {"up"}

    assert queries
    for query in (line for block in queries for line in block.splitlines()):
        assert used_names(query)
        assert used_names(query) <= known


@every_page
def test_a_page_says_how_bad_it_is(name):
    """As the rule does."""
    assert f"Severity: {ALERTS[name]['labels']['severity']}." in PAGES[name]


@every_page
def test_the_links_of_a_page_lead_somewhere(name):
    """To other pages of the documentation."""
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", PAGES[name])

    assert [link for link in links if not (RUNBOOKS / link).exists()] == []
