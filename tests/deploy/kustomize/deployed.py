"""The server as it is deployed: its Deployment among the objects that belong to it."""

import math

from tests.deploy.manifests import Object, Objects, of_kind, settings

AUTOSCALERS = ("HorizontalPodAutoscaler", "ScaledObject")


class Server:
    """A Deployment of the server among the objects that belong to it."""

    def __init__(self, deployment: Object, objects: Objects) -> None:
        self.objects = objects
        self.name: str = deployment["metadata"]["name"]
        self.spec: Object = deployment["spec"]
        self.labels: dict[str, str] = self.spec["template"]["metadata"]["labels"]
        self.pod: Object = self.spec["template"]["spec"]
        self.container: Object = self.pod["containers"][0]
        self.settings = settings(self.container)
        self.ports = {each["name"]: each["containerPort"] for each in self.container["ports"]}

    def number(self, name: str, otherwise: float = 0) -> float:
        """A setting of the server; NaN where it is no number, which is another rule's to say."""
        try:
            return float(self.settings.get(f"ISOTHERM_{name}", otherwise))
        except ValueError:
            return math.nan

    @property
    def tls(self) -> bool:
        """Whether its gRPC port speaks TLS."""
        return "ISOTHERM_TLS_CERT" in self.settings

    def kind(self, *kinds: str) -> Objects:
        """The objects of some kinds beside it."""
        return of_kind(self.objects, *kinds)

    @property
    def autoscalers(self) -> Objects:
        """Those that decide about its replicas."""
        return [
            each
            for each in self.kind(*AUTOSCALERS)
            if each["spec"]["scaleTargetRef"]["name"] == self.name
        ]

    @property
    def fewest(self) -> int:
        """How many replicas there are at least."""
        smallest = [bounds(each)[0] for each in self.autoscalers]
        return min(smallest, default=self.spec.get("replicas", 1))


def name_of(each: Object) -> str:
    """Kind and name."""
    return f"{each['kind']}/{each['metadata']['name']}"


def bounds(scaler: Object) -> tuple[int, int]:
    """The fewest and the most replicas of an autoscaler."""
    spec = scaler["spec"]
    if scaler["kind"] == "ScaledObject":
        return spec["minReplicaCount"], spec["maxReplicaCount"]
    return spec["minReplicas"], spec["maxReplicas"]
