"""What Grafana's documentation says about the files that it is provisioned from, as JSON Schemas.

Closed ones: Grafana passes over a name that it does not know, and leaves the setting as it was.
"""

from typing import Any

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string", "minLength": 1}
_BOOLEAN: Schema = {"type": "boolean"}
_NUMBER: Schema = {"type": "integer"}


def _object(required: str, **properties: Schema) -> Schema:
    return {
        "type": "object",
        "required": required.split(),
        "properties": properties,
        "additionalProperties": False,
    }


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items, "minItems": 1}


# docs/sources/datasources/prometheus and docs/sources/datasources/alertmanager.
_JSON_DATA: dict[str, Schema] = {
    "prometheus": _object(
        "",
        alertmanagerUid=_TEXT,
        cacheLevel={"enum": ["Low", "Medium", "High", "None"]},
        customQueryParameters=_TEXT,
        disableRecordingRules=_BOOLEAN,
        httpMethod={"enum": ["GET", "POST"]},
        incrementalQuerying=_BOOLEAN,
        manageAlerts=_BOOLEAN,
        prometheusType={"enum": ["Prometheus", "Cortex", "Mimir", "Thanos"]},
        prometheusVersion=_TEXT,
        timeInterval={"type": "string", "pattern": r"^\d+(ms|s|m|h)$"},
    ),
    "alertmanager": _object(
        "",
        handleGrafanaManagedAlerts=_BOOLEAN,
        implementation={"enum": ["cortex", "mimir", "prometheus"]},
    ),
}


def _datasource(kind: str) -> Schema:
    return _object(
        "name type access",
        access={"enum": ["proxy", "direct"]},
        basicAuth=_BOOLEAN,
        basicAuthUser=_TEXT,
        database=_TEXT,
        editable=_BOOLEAN,
        isDefault=_BOOLEAN,
        jsonData=_JSON_DATA[kind],
        name=_TEXT,
        orgId=_NUMBER,
        secureJsonData={"type": "object"},
        type={"const": kind},
        uid={"type": "string", "pattern": r"^[A-Za-z0-9_-]{1,40}$"},
        url={"type": "string", "pattern": "^https?://"},
        user=_TEXT,
        version=_NUMBER,
        withCredentials=_BOOLEAN,
    )


# docs/sources/administration/provisioning, "Data sources".
DATASOURCES = _object(
    "apiVersion datasources",
    apiVersion={"const": 1},
    datasources=_list({"oneOf": [_datasource(kind) for kind in _JSON_DATA]}),
    deleteDatasources=_list(_object("name", name=_TEXT, orgId=_NUMBER)),
    prune=_BOOLEAN,
)
# The same page, "Dashboards".
DASHBOARDS = _object(
    "apiVersion providers",
    apiVersion={"const": 1},
    providers=_list(
        _object(
            "name options",
            allowUiUpdates=_BOOLEAN,
            disableDeletion=_BOOLEAN,
            folder={"type": "string"},
            folderUid=_TEXT,
            name=_TEXT,
            options=_object("path", foldersFromFilesStructure=_BOOLEAN, path=_TEXT),
            orgId=_NUMBER,
            type={"const": "file"},
            updateIntervalSeconds=_NUMBER,
        )
    ),
)
