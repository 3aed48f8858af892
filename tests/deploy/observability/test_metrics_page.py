"""docs/metrics.md against the page that a real server under load shows."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from isotherm.server.families import SECTIONS
from tests.deploy.observability.metric_names import documented_families, documented_values
from tests.deploy.processes import output, tool

pytestmark = [pytest.mark.alone, pytest.mark.slow]

OURS = ("isotherm_", "grpc_", "nv_")
# What this machine may have nothing to show of.
OPTIONAL = {family.name for section in SECTIONS if section.optional for family in section.families}


@pytest.fixture(name="scrape")
def _scrape(prometheus, loaded_server):
    """A scrape after some seconds of load."""
    status, text = loaded_server.page("/metrics")

    assert status == 200
    return text


def test_the_server_shows_what_the_page_documents(scrape):
    """Every family with its type and its labels, and none that is not documented."""
    documented = {family.name: (family.type, family.labels) for family in documented_families()}
    always = {name: family for name, family in documented.items() if name not in OPTIONAL}
    shown = {
        _name(family): (family.type, frozenset().union(*_label_sets(family)))
        for family in text_string_to_metric_families(scrape)
        if _name(family).startswith(OURS) or _name(family) in documented
    }

    assert always == {name: family for name, family in shown.items() if name in always}
    assert documented | shown == documented


def test_labels_hold_nothing_that_a_client_sent(scrape):
    """The load asks for a model that does not exist."""
    assert "no-such-model" not in scrape


def test_label_values_come_from_the_documented_lists(scrape):
    """Closed lists stay closed, and are complete from the start."""
    documented = documented_values()
    shown: dict[tuple[str, str], set[str]] = {}
    for family in text_string_to_metric_families(scrape):
        for sample in family.samples:
            for label, value in sample.labels.items():
                shown.setdefault((_name(family), label), set()).add(value)

    assert len(documented) >= 5
    assert documented == {each: shown[each] for each in documented}


def test_prometheus_finds_no_fault_with_the_names(scrape, tmp_path):
    """Promtool knows the conventions for names, units and help texts. Triton keeps none of them."""
    page = tmp_path / "metrics"
    page.write_text("".join(one for one in scrape.splitlines(keepends=True) if "nv_" not in one))

    assert output(["sh", "-c", f"{tool('promtool', 'prometheus')} check metrics < {page}"]) == ""


def _name(family):
    return f"{family.name}_total" if family.type == "counter" else family.name


def _label_sets(family):
    return [sample.labels.keys() - {"le"} for sample in family.samples]
