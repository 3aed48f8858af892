"""What a YAML parser takes without a word: a key that is there twice, `no` that means false."""

from pathlib import Path

import pytest
from yamllint import linter
from yamllint.config import YamlLintConfig

from tests.deploy.places import DEPLOY, ROOT

# Templates are no YAML before the engine has been over them; what is generated has long lines.
FILES = [
    path
    for pattern in ("*.yaml", "*.yml")
    for path in sorted(DEPLOY.rglob(pattern))
    if "templates" not in path.parts
]
RULES = YamlLintConfig("""
rules:
  anchors: {forbid-unused-anchors: true}
  indentation: {spaces: 2}
  key-duplicates: enable
  key-ordering: disable
  new-line-at-end-of-file: enable
  trailing-spaces: enable
  truthy: {check-keys: false}
""")


def faults(text: str) -> list[str]:
    """What the rules have against a text."""
    return [f"line {fault.line}: {fault.desc}" for fault in linter.run(text, RULES)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(DEPLOY)))
def test_each_file_says_what_its_reader_thinks(path: Path) -> None:
    """Manifests, values, configurations, rules."""
    assert faults(path.read_text()) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: 2\na: 3\n", "duplication of key"),
        ("a: no\n", "truthy value"),
        ("a: 1 \n", "trailing spaces"),
        ("a:\n   b: 1\n", "wrong indentation"),
        ("a: &one 1\n", "anchor"),
    ],
)
def test_what_is_read_otherwise_is_refused(text: str, expected: str) -> None:
    """The control."""
    (fault,) = faults(text)

    assert expected in fault


def test_every_kind_of_file_is_looked_at() -> None:
    """The charts' values, the balancer's configuration and the manifests of both."""
    names = {str(path.relative_to(ROOT)) for path in FILES}

    assert {
        "deploy/compose/compose.yaml",
        "deploy/helm/isotherm/values.yaml",
        "deploy/kserve/examples/pvc.yaml",
        "deploy/kustomize/base/deployment.yaml",
        "deploy/lb/envoy.yaml",
        "deploy/prometheus/rules.yml",
    } <= names
