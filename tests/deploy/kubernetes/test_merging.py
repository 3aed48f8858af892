"""Patches as the documentation of Kubernetes describes them."""

from tests.deploy.kubernetes.merging import applied, merged, strategically_merged
from tests.deploy.manifests import Object

LIVE: Object = {
    "spec": {
        "replicas": 2,
        "containers": [
            {"name": "server", "image": "a", "env": [{"name": "A", "value": "1"}]},
            {"name": "beside", "image": "b"},
        ],
        "args": ["x", "y"],
    }
}


def test_a_merge_patch_removes_by_null_and_replaces_lists():
    """As RFC 7386 says."""
    patch = {"spec": {"replicas": None, "args": ["z"], "more": {"new": 1}}}

    assert {
        "spec": {"containers": LIVE["spec"]["containers"], "args": ["z"], "more": {"new": 1}}
    } == merged(LIVE, patch)


def test_a_strategic_patch_finds_elements_by_their_key():
    """A variable of a container changes, a container goes, and the rest stays."""
    patch = {
        "spec": {
            "$setElementOrder/containers": [{"name": "server"}],
            "containers": [
                {"name": "server", "env": [{"name": "B", "value": "2"}]},
                {"name": "beside", "$patch": "delete"},
            ],
        }
    }
    env = [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]

    spec = strategically_merged(LIVE, patch)["spec"]

    assert [{"name": "server", "image": "a", "env": env}] == spec["containers"]
    assert LIVE["spec"]["args"] == spec["args"]


def test_a_strategic_patch_can_say_the_order():
    """Of what is there, and of what comes."""
    order = [{"name": "new"}, {"name": "beside"}, {"name": "server"}]
    patch = {"spec": {"$setElementOrder/containers": order, "containers": [{"name": "new"}]}}

    containers = strategically_merged(LIVE, patch)["spec"]["containers"]

    assert ["new", "beside", "server"] == [each["name"] for each in containers]


def test_a_strategic_patch_can_replace_and_retain():
    """What kubectl writes where one of several fields may be there."""
    volume = {"volumes": [{"name": "models", "emptyDir": {}}]}
    patch = {"volumes": [{"name": "models", "$retainKeys": ["name", "image"], "image": {}}]}

    assert {"volumes": [{"name": "models", "image": {}}]} == strategically_merged(volume, patch)
    assert {"a": {"c": 2}} == strategically_merged(
        {"a": {"b": 1}}, {"a": {"$patch": "replace", "c": 2}}
    )


def test_an_apply_removes_what_its_manager_has_dropped():
    """And leaves alone what others have set, in objects and in lists with keys."""
    before = {"spec": {"replicas": 2, "containers": [{"name": "server", "image": "a"}]}}
    wanted = {"spec": {"containers": [{"name": "server", "image": "c"}]}}

    spec = applied(LIVE, before, wanted)["spec"]

    assert "replicas" not in spec
    assert ["server", "beside"] == [each["name"] for each in spec["containers"]]
    assert LIVE["spec"]["containers"][0] | {"image": "c"} == spec["containers"][0]


def test_an_apply_removes_an_element_that_its_manager_has_dropped():
    """A container that is applied no longer."""
    before = {"spec": {"containers": [{"name": "server"}, {"name": "beside"}]}}

    spec = applied(LIVE, before, {"spec": {"containers": [{"name": "server"}]}})["spec"]

    assert ["server"] == [each["name"] for each in spec["containers"]]
