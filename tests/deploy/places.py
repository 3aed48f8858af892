"""Where the files under test lie."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
KUSTOMIZE = DEPLOY / "kustomize"
DOCKERFILE = DEPLOY / "docker" / "Dockerfile"
TRAINER_DOCKERFILE = DEPLOY / "docker" / "trainer.Dockerfile"
COMPOSE = DEPLOY / "compose"
RULES = DEPLOY / "prometheus" / "rules.yml"
# The second has the windows of days, on a coarser clock.
RULES_TESTS = [DEPLOY / "prometheus" / f"rules{which}_test.yml" for which in ("", "_days")]
PROMETHEUS_CONFIG = DEPLOY / "prometheus" / "prometheus.yml"
ADAPTER = DEPLOY / "prometheus-adapter" / "values.yaml"
DASHBOARDS = sorted((DEPLOY / "grafana").glob("*.json"))
RUNBOOKS = ROOT / "docs" / "runbooks"
METRICS_PAGE = ROOT / "docs" / "metrics.md"
OBSERVABILITY_PAGE = ROOT / "docs" / "observability.md"
MODELS = ROOT / "examples" / "models"

# What `kubectl kustomize` makes of the base and of each overlay. The fast tests read these, so that
# they need no kubectl; a slow test compares them with a new rendering.
RENDERED = {
    folder: Path(__file__).parent / "rendered" / f"{folder.name}.yaml"
    for folder in (KUSTOMIZE / "base", *sorted((KUSTOMIZE / "overlays").iterdir()))
}
# From datreeio/CRDs-catalog, under the licence beside them.
SCHEMAS = Path(__file__).parent / "schemas"
