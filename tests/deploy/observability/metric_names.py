"""Metric names: those that docs/metrics.md promises, and those that a PromQL expression uses."""

import re
from functools import cache
from typing import NamedTuple

import yaml

from tests.deploy.places import METRICS_PAGE, RULES

_ROW = re.compile(
    r"^\| `(?P<name>\w+)` \| (?P<type>counter|gauge|histogram|unknown) \|(?P<labels>[^|]*)\|",
    re.MULTILINE,
)
_LIST = re.compile(r"^\| `(?P<name>\w+)` \| `(?P<label>\w+)` \| (?P<values>[^|]*)\|$", re.MULTILINE)
_HISTOGRAM_SAMPLES = ("_bucket", "_count", "_sum")
_WORDS = {"and", "bool", "by", "group_left", "group_right", "ignoring", "offset", "on", "or"}
_WORDS |= {"inf", "nan", "unless", "without"}


class Family(NamedTuple):
    """A metric family as the page documents it."""

    name: str
    type: str
    labels: frozenset[str]

    def samples(self) -> dict[str, frozenset[str]]:
        """The names of its series with their labels."""
        if self.type != "histogram":
            return {self.name: self.labels}
        series = {f"{self.name}{suffix}": self.labels for suffix in _HISTOGRAM_SAMPLES}
        series[f"{self.name}_bucket"] |= {"le"}
        return series


@cache
def documented_families() -> list[Family]:
    """Every family of the page's tables."""
    rows = _ROW.finditer(METRICS_PAGE.read_text())
    return [
        Family(row["name"], row["type"], frozenset(re.findall(r"`(\w+)`", row["labels"])))
        for row in rows
    ]


@cache
def documented_samples() -> dict[str, frozenset[str]]:
    """Every series name of the page with its labels."""
    return {
        name: labels
        for family in documented_families()
        for name, labels in family.samples().items()
    }


@cache
def recorded_samples() -> dict[str, frozenset[str]]:
    """Every recorded series with its labels, which its name lists: `job_model:metric:operation`."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    names = [rule["record"] for group in groups for rule in group["rules"] if "record" in rule]
    return {name: frozenset(name.partition(":")[0].split("_")) for name in names}


def documented_values() -> dict[tuple[str, str], set[str]]:
    """The closed lists of the page: the values of a family's label."""
    rows = _LIST.finditer(METRICS_PAGE.read_text())
    return {(row["name"], row["label"]): set(re.findall(r"`(\w+)`", row["values"])) for row in rows}


def used_names(expr: str) -> set[str]:
    """The metric names in a PromQL expression."""
    bare = re.sub(r'"[^"]*"', "", expr)
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]", " ", bare)
    bare = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", " ", bare)
    words = re.findall(r"(?<![\w.:])[a-zA-Z_:][\w:]*(?![\w:]|\s*\()", bare)
    return set(words) - _WORDS


def selectors(expr: str) -> list[tuple[str, set[str]]]:
    """Each `metric{...}` of an expression with the names of the labels that it matches."""
    found = re.findall(r"([a-zA-Z_:][\w:]*)\{((?:[^}\"]|\"[^\"]*\")*)\}", expr)
    return [
        (name, set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", re.sub(r'"[^"]*"', "", matchers))))
        for name, matchers in found
    ]
