"""Where the files under test lie."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
KUSTOMIZE = DEPLOY / "kustomize"
DOCKERFILE = DEPLOY / "docker" / "Dockerfile"
RULES = DEPLOY / "prometheus" / "rules.yml"
RULES_TEST = DEPLOY / "prometheus" / "rules_test.yml"
PROMETHEUS_CONFIG = DEPLOY / "prometheus" / "prometheus.yml"
DASHBOARD = DEPLOY / "grafana" / "isotherm.json"
METRICS_PAGE = ROOT / "docs" / "metrics.md"
MODELS = ROOT / "examples" / "models"

# What `kubectl kustomize` makes of each folder. The fast tests read these, so that they need no
# kubectl; a slow test compares them with a new rendering.
RENDERED = {
    KUSTOMIZE / "base": Path(__file__).parent / "rendered" / "base.yaml",
    KUSTOMIZE / "overlays" / "dev": Path(__file__).parent / "rendered" / "dev.yaml",
}
