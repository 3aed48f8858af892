"""The kinds of objects that the server keeps, and where they are in its API."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tests.deploy.manifests import Object

VERBS: Final = ["create", "delete", "get", "list", "patch", "update"]


@dataclass(frozen=True)
class Resource:
    """A kind of objects, and where in the API it is."""

    group_version: str
    kind: str
    plural: str
    namespaced: bool = True

    @property
    def group(self) -> str:
        """The group; empty for Kubernetes' core."""
        return self.group_version.rpartition("/")[0]

    @property
    def qualified(self) -> str:
        """The name that error messages use."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def root(self) -> str:
        """Where its group and version begin: api/v1, apis/apps/v1."""
        return f"{'apis' if self.group else 'api'}/{self.group_version}"

    @property
    def path(self) -> str:
        """The path of an object, as OpenAPI writes it."""
        within = "namespaces/{namespace}/" if self.namespaced else ""
        return f"/{self.root}/{within}{self.plural}/{{name}}"

    def described_kind(self) -> Object:
        """The kind as OpenAPI names it."""
        version = self.group_version.rpartition("/")[2]
        return {"group": self.group, "kind": self.kind, "version": version}

    def described(self) -> Object:
        """The resource as a discovery document lists it."""
        return {
            "name": self.plural,
            "singularName": self.kind.lower(),
            "namespaced": self.namespaced,
            "kind": self.kind,
            "verbs": VERBS,
        }


NAMESPACES: Final = Resource("v1", "Namespace", "namespaces", namespaced=False)
RESOURCES: Final = (
    NAMESPACES,
    Resource("v1", "ConfigMap", "configmaps"),
    Resource("v1", "PersistentVolumeClaim", "persistentvolumeclaims"),
    Resource("v1", "Pod", "pods"),
    Resource("v1", "Secret", "secrets"),
    Resource("v1", "Service", "services"),
    Resource("v1", "ServiceAccount", "serviceaccounts"),
    Resource("apps/v1", "Deployment", "deployments"),
    Resource("autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers"),
    Resource("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies"),
    Resource("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets"),
    # What operators bring: Prometheus', KEDA's, the Gateway API's, KServe's.
    Resource("gateway.networking.k8s.io/v1", "BackendTLSPolicy", "backendtlspolicies"),
    Resource("gateway.networking.k8s.io/v1", "GRPCRoute", "grpcroutes"),
    Resource("keda.sh/v1alpha1", "ScaledObject", "scaledobjects"),
    Resource("monitoring.coreos.com/v1", "PodMonitor", "podmonitors"),
    Resource("monitoring.coreos.com/v1", "PrometheusRule", "prometheusrules"),
    Resource(
        "serving.kserve.io/v1alpha1",
        "ClusterServingRuntime",
        "clusterservingruntimes",
        namespaced=False,
    ),
    Resource("serving.kserve.io/v1alpha1", "ServingRuntime", "servingruntimes"),
    Resource("serving.kserve.io/v1beta1", "InferenceService", "inferenceservices"),
)


def found(group_version: str, plural: str) -> Resource | None:
    """The resource at a place of the API."""
    for resource in RESOURCES:
        if (resource.group_version, resource.plural) == (group_version, plural):
            return resource
    return None
