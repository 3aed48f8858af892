"""The objects of deploy/kubeflow: valid, restricted, and of one mind with each other."""

from __future__ import annotations

import tomllib
from copy import deepcopy
from pathlib import PurePosixPath

import pytest

from isotherm.trainer import config
from tests.deploy.kubeflow import controller
from tests.deploy.kubernetes.validation import InvalidError, check
from tests.deploy.kustomize.pod_policy import pod_faults
from tests.deploy.manifests import Object, only, read, settings
from tests.deploy.places import DEPLOY, TRAINER_DOCKERFILE

VERSION = "1.32"
FILES = sorted((DEPLOY / "kubeflow").glob("*.yaml"))
OBJECTS = [each for file in FILES for each in read(file)]
JOB = only(OBJECTS, "TrainJob")
# What a TrainJob has no field for. The account has no token, and a variable that a Service adds is
# nothing that the trainer reads.
BEYOND_A_TRAINJOB = {
    "automountServiceAccountToken is not false: the pod gets a token of the API",
    "enableServiceLinks is not false: a Service called isotherm sets ISOTHERM_* variables",
}
# Where a training leaves what it makes.
WRITTEN = {"/models", "/training"}


def faults(job: Object) -> set[str]:
    """What the policy of our pods has against those of a job."""
    return set(pod_faults(controller.pod(job, 0)["spec"])) - BEYOND_A_TRAINJOB


@pytest.mark.parametrize("node", OBJECTS, ids=lambda node: node["kind"])
def test_every_object_is_valid(node):
    """Against the schemas of Kubernetes and of Kubeflow Trainer, closed."""
    check(node, VERSION)


@pytest.mark.parametrize(
    ("field", "value"), [("numNodes", "2"), ("numProcPerNodes", 1), ("resourcesPerNode", "4Gi")]
)
def test_a_job_that_is_not_valid_is_refused(field, value):
    """A control: a misspelt field, wrong types."""
    wrong = deepcopy(JOB)
    wrong["spec"]["trainer"][field] = value

    with pytest.raises(InvalidError, match=field):
        check(wrong, VERSION)


def test_the_pods_are_restricted_and_bounded():
    """They write where the trainer has to, and nowhere else."""
    assert faults(JOB) == {
        f"container node: {path} is writable, and no emptyDir with a sizeLimit" for path in WRITTEN
    }


def test_a_pod_that_is_not_restricted_is_seen():
    """A control: without the container's part of the patch."""
    wrong = deepcopy(JOB)
    patch = wrong["spec"]["runtimePatches"][0]["trainingRuntimeSpec"]["template"]["spec"]
    pod = patch["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]
    del pod["containers"][0]["securityContext"]

    assert "container node: allowPrivilegeEscalation is not false" in faults(wrong)
    assert "container node: readOnlyRootFilesystem is not true" in faults(wrong)


def test_the_pods_have_no_token():
    """By their account, as a TrainJob cannot say it."""
    account = only(OBJECTS, "ServiceAccount")

    assert account["automountServiceAccountToken"] is False
    assert controller.pod(JOB, 0)["spec"]["serviceAccountName"] == account["metadata"]["name"]


def test_the_policy_is_for_the_pods_of_the_job():
    """In both directions."""
    labels = controller.pod(JOB, 1)["metadata"]["labels"]
    spec = only(OBJECTS, "NetworkPolicy")["spec"]
    peers = [spec["podSelector"], spec["ingress"][0]["from"][0]["podSelector"]]

    assert [each["matchLabels"] for each in peers] == [labels] * 2
    assert spec["egress"][0]["to"][0]["podSelector"]["matchLabels"] == labels


def test_the_settings_are_the_trainer_s():
    """A misspelt one would be refused, and every path is on a volume."""
    (text,) = only(OBJECTS, "ConfigMap")["data"].values()
    settled = config.validated(tomllib.loads(text))
    pod = controller.pod(JOB, 0)["spec"]
    mounts = {each["mountPath"]: each for each in pod["containers"][0]["volumeMounts"]}
    written = (settled.repository, settled.plots, settled.checkpoint.folder)

    assert all({*map(str, (path, *path.parents))} & WRITTEN for path in written if path), written
    assert not any(mounts[path].get("readOnly") for path in WRITTEN)
    assert mounts["/data"]["readOnly"]
    assert str(settled.data.file).startswith("/data/")


def test_the_command_finds_the_settings():
    """Where the ConfigMap is mounted, under its key."""
    pod = controller.pod(JOB, 0)["spec"]
    (key,) = only(OBJECTS, "ConfigMap")["data"]
    (argument,) = pod["containers"][0]["args"]
    (folder,) = (
        each["mountPath"]
        for each in pod["containers"][0]["volumeMounts"]
        if each["name"] == "settings"
    )

    assert argument == f"--config={PurePosixPath(folder) / key}"


def test_no_variable_is_torchrun_s_own():
    """Kubeflow Trainer refuses a job that sets one."""
    assert not controller.RESERVED & {each["name"] for each in JOB["spec"]["trainer"]["env"]}


def test_the_processors_are_those_that_were_asked_for():
    """In a container torch counts the node's."""
    trainer = JOB["spec"]["trainer"]
    threads = int(settings(trainer)["OMP_NUM_THREADS"])

    assert threads * trainer["numProcPerNode"] == int(
        trainer["resourcesPerNode"]["requests"]["cpu"]
    )


def test_the_pods_run_as_the_image_s_user():
    """Who owns /training in it."""
    user = controller.pod(JOB, 0)["spec"]["securityContext"]["runAsUser"]

    assert f"USER {user}:{user}\n" in TRAINER_DOCKERFILE.read_text()
