"""The compose file and what it mounts, as they are written."""

import json
import subprocess
from pathlib import PurePosixPath

import pytest
import yaml
from jsonschema import Draft202012Validator

from tests.deploy.images import composition, grafana
from tests.deploy.places import COMPOSE, DASHBOARDS, PROMETHEUS_CONFIG
from tests.support.environments import node_modules

TEXT = composition.FILE.read_text()
GPU = COMPOSE / "gpu.yaml"
SERVICES = composition.read(TEXT)
PROMETHEUS = yaml.safe_load((COMPOSE / "prometheus.yml").read_text())
DATASOURCES = yaml.safe_load((COMPOSE / "grafana" / "datasources.yml").read_text())
PROVIDERS = yaml.safe_load((COMPOSE / "grafana" / "dashboards.yml").read_text())


def test_every_service_holds_to_the_rules():
    """Read-only, without capabilities, bounded, pinned, for this machine only, without secrets."""
    assert set(SERVICES) == {"isotherm", "prometheus", "alertmanager", "grafana"}
    assert composition.faults(SERVICES) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"read_only": False}, "written"),
        ({"cap_drop": ["NET_RAW"]}, "capabilities"),
        ({"cap_add": ["SYS_ADMIN"]}, "capabilities"),
        ({"security_opt": []}, "privileges"),
        ({"user": "0"}, "root"),
        ({"mem_limit": None}, "memory"),
        ({"image": "prom/prometheus:latest"}, "no version"),
        ({"image": "prom/prometheus"}, "no version"),
        ({"ports": ["9090:9090"]}, "reach port"),
        ({"ports": ["0.0.0.0:9090:9090"]}, "reach port"),
        ({"healthcheck": None}, "health check"),
        ({"healthcheck": {"test": ["CMD-SHELL", "true"]}}, "health check"),
        ({"volumes": ["./prometheus.yml:/etc/prometheus/prometheus.yml"]}, "can write"),
        ({"volumes": ["./absent.yml:/etc/prometheus/prometheus.yml:ro"]}, "does not exist"),
        ({"volumes": ["/var/run/docker.sock:/var/run/docker.sock:ro"]}, "command the engine"),
        ({"environment": {"GF_SECURITY_ADMIN_PASSWORD": "admin"}}, "secret"),
        ({"environment": {"ISOTHERM_WORKERS": 2}}, "no string"),
    ],
)
def test_a_service_that_breaks_a_rule_is_refused(change, fault):
    """The control for each rule."""
    changed = SERVICES["prometheus"] | change
    broken = {name: value for name, value in changed.items() if value is not None}

    assert any(fault in each for each in composition.faults({"prometheus": broken}))


def test_the_gpu_is_for_the_server_alone():
    """And it has to be there: the file asks for one, and the server for CUDA."""
    services = composition.read(GPU.read_text())
    server = services["isotherm"]
    (device,) = server["deploy"]["resources"]["reservations"]["devices"]

    assert set(services) == {"isotherm"}
    assert composition.faults({"isotherm": SERVICES["isotherm"] | server}) == []
    assert device["capabilities"] == ["gpu"]
    assert server["environment"]["ISOTHERM_PROVIDER"] == "cuda"


def test_prometheus_watches_the_server_as_the_one_on_a_machine_of_its_own_does():
    """The same job, rules and intervals: dashboards and alerts depend on them."""
    alone = yaml.safe_load(PROMETHEUS_CONFIG.read_text())

    assert PROMETHEUS["global"] == alone["global"]
    assert PROMETHEUS["rule_files"] == alone["rule_files"]
    assert [job["job_name"] for job in PROMETHEUS["scrape_configs"]] == [
        job["job_name"] for job in alone["scrape_configs"]
    ]


def test_every_address_is_a_service_of_the_composition():
    """Names and container ports, in Prometheus' targets and in Grafana's data sources."""
    ports = {
        f"{name}:{port.rpartition(':')[2]}"
        for name, service in SERVICES.items()
        for port in service["ports"]
    }
    jobs = [*PROMETHEUS["scrape_configs"], *PROMETHEUS["alerting"]["alertmanagers"]]
    targets = {
        target for job in jobs for each in job["static_configs"] for target in each["targets"]
    }
    urls = {each["url"].removeprefix("http://") for each in DATASOURCES["datasources"]}

    assert targets == {"isotherm:8002", "alertmanager:9093"}
    assert urls == {"prometheus:9090", "alertmanager:9093"}
    assert targets | urls <= ports


def test_prometheus_finds_the_rules_where_they_are_mounted():
    """A relative path is one beside the configuration."""
    mounted = composition.mounts(SERVICES["prometheus"])
    (config,) = (
        path
        for option in SERVICES["prometheus"]["command"]
        for name, _, path in [option.partition("=")]
        if name == "--config.file"
    )
    (rules,) = PROMETHEUS["rule_files"]

    assert mounted[config][0] == "./prometheus.yml"
    assert mounted[str(PurePosixPath(config).parent / rules)][0] == "../prometheus/rules.yml"


def test_grafana_finds_all_dashboards_where_they_are_mounted():
    """And its home page is one of them."""
    service = SERVICES["grafana"]
    mounted = composition.mounts(service)
    (provider,) = PROVIDERS["providers"]
    source, _ = mounted[provider["options"]["path"]]
    home = PurePosixPath(service["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])

    assert sorted((COMPOSE / source).resolve().iterdir()) == DASHBOARDS
    assert str(home.parent) == provider["options"]["path"]
    assert home.name in {path.name for path in DASHBOARDS}
    assert "/etc/grafana/provisioning/datasources/isotherm.yml" in mounted
    assert "/etc/grafana/provisioning/dashboards/isotherm.yml" in mounted


def test_grafana_asks_as_often_as_prometheus_scrapes():
    """Its `$__rate_interval` is four times that."""
    (prometheus,) = (each for each in DATASOURCES["datasources"] if each.get("isDefault"))

    assert prometheus["type"] == "prometheus"
    assert prometheus["jsonData"]["timeInterval"] == PROMETHEUS["global"]["scrape_interval"]


def test_nobody_can_log_in_to_grafana():
    """There is no account, so there is no password that could be the default one."""
    environment = SERVICES["grafana"]["environment"]

    assert environment["GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION"] == "true"
    assert environment["GF_AUTH_DISABLE_LOGIN_FORM"] == "true"
    assert environment["GF_AUTH_BASIC_ENABLED"] == "false"
    assert environment["GF_AUTH_ANONYMOUS_ORG_ROLE"] == "Viewer"


@pytest.mark.parametrize(
    ("document", "schema"),
    [(DATASOURCES, grafana.DATASOURCES), (PROVIDERS, grafana.DASHBOARDS)],
)
def test_the_provisioning_files_are_as_grafana_documents_them(document, schema):
    """Every name is one that Grafana knows."""
    Draft202012Validator(schema).validate(document)


@pytest.mark.parametrize(
    ("document", "schema", "right", "wrong"),
    [
        (DATASOURCES, grafana.DATASOURCES, "isDefault", "is_default"),
        (DATASOURCES, grafana.DATASOURCES, "timeInterval", "interval"),
        (DATASOURCES, grafana.DATASOURCES, '"access": "proxy"', '"access": "server"'),
        (PROVIDERS, grafana.DASHBOARDS, "allowUiUpdates", "allowUIUpdates"),
        (PROVIDERS, grafana.DASHBOARDS, "providers", "dashboards"),
    ],
)
def test_a_misspelt_provisioning_file_is_refused(document, schema, right, wrong):
    """The control: Grafana itself would pass over it."""
    broken = json.loads(json.dumps(document).replace(right, wrong))

    assert broken != document
    assert not Draft202012Validator(schema).is_valid(broken)


@pytest.fixture(scope="module", name="lint")
def _lint():
    """A linter that knows the Compose Specification's schema."""
    program = node_modules() / ".bin" / "dclint"

    def lint(path):
        # Its warnings are about order and quotes. Naming the image that is built is right: it is
        # what runs where nobody builds.
        options = ("--quiet", "--disable-rule", "no-build-and-image")
        done = subprocess.run(
            [program, path, *options], capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout.strip()

    return lint


@pytest.mark.slow
@pytest.mark.parametrize("file", [composition.FILE, GPU])
def test_the_file_is_one_of_the_compose_specification(lint, file):
    """Every key is one that it knows, and of the right kind."""
    assert lint(file) == (0, "")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("stop_grace_period:", "stop_grace_periode:"),
        ("tmpfs:", "tmp_fs:"),
        ("cap_drop: [ALL]", "cap_drop: ALL"),
    ],
)
def test_a_mistake_in_the_file_is_found(lint, tmp_path, right, wrong):
    """The control: an engine may pass over it."""
    path = tmp_path / "compose.yaml"
    path.write_text(TEXT.replace(right, wrong))

    code, said = lint(path)

    assert code == 1
    assert "invalid-schema" in said
