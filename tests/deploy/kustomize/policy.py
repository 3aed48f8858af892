"""What manifests have to say beyond what a schema can see: `faults` names what is wrong.

It knows our server: its ports, its health services, how it drains, which calls change it.
"""

from collections import Counter
from collections.abc import Iterator

from tests.deploy.kustomize import reach_policy, server_policy
from tests.deploy.kustomize.deployed import Server, name_of
from tests.deploy.kustomize.pod_policy import pod_faults
from tests.deploy.manifests import Object, Objects, of_kind

RULES = (*server_policy.RULES, *reach_policy.RULES)


def faults(objects: Objects) -> list[str]:
    """What is wrong with the objects of one deployment, one sentence each."""
    found = [*_twice(objects)]
    for each in objects:
        spec = _pod_spec(each)
        faulty = [*pod_faults(spec)] if spec is not None else []
        if (
            each["kind"] == "ServiceAccount"
            and each.get("automountServiceAccountToken") is not False
        ):
            faulty.append("automountServiceAccountToken is not false")
        found += [f"{name_of(each)}: {fault}" for fault in faulty]
    for each in of_kind(objects, "Deployment"):
        server = Server(each, objects)
        found += [f"{name_of(each)}: {fault}" for rule in RULES for fault in rule(server)]
    return found


def _twice(objects: Objects) -> Iterator[str]:
    for name, count in Counter(map(name_of, objects)).items():
        if count > 1:
            yield f"{name} is there {count} times"


def _pod_spec(each: Object) -> Object | None:
    spec: Object | None = None
    if each["kind"] == "Pod":
        spec = each["spec"]
    elif "template" in each.get("spec", {}):
        spec = each["spec"]["template"]["spec"]
    return spec
