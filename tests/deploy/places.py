"""Where the files under test lie."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
KUSTOMIZE = DEPLOY / "kustomize"
DOCKERFILE = DEPLOY / "docker" / "Dockerfile"
RULES = DEPLOY / "prometheus" / "rules.yml"
# The second has the windows of days, on a coarser clock.
RULES_TESTS = [DEPLOY / "prometheus" / f"rules{which}_test.yml" for which in ("", "_days")]
PROMETHEUS_CONFIG = DEPLOY / "prometheus" / "prometheus.yml"
DASHBOARDS = sorted((DEPLOY / "grafana").glob("*.json"))
RUNBOOKS = ROOT / "docs" / "runbooks"
METRICS_PAGE = ROOT / "docs" / "metrics.md"
OBSERVABILITY_PAGE = ROOT / "docs" / "observability.md"
MODELS = ROOT / "examples" / "models"

# What `kubectl kustomize` makes of each folder. The fast tests read these, so that they need no
# kubectl; a slow test compares them with a new rendering.
RENDERED = {
    KUSTOMIZE / "base": Path(__file__).parent / "rendered" / "base.yaml",
    KUSTOMIZE / "overlays" / "dev": Path(__file__).parent / "rendered" / "dev.yaml",
}
# With what the Prometheus operator reads, which Kubernetes itself does not know.
MONITORED = KUSTOMIZE / "overlays" / "monitored"
RENDERED_MONITORED = Path(__file__).parent / "rendered" / "monitored.yaml"
# From datreeio/CRDs-catalog, under the licence beside them.
SCHEMAS = Path(__file__).parent / "schemas"
