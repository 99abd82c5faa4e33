"""The manifests for Kubernetes: they keep to its schemas, and agree with the bot, its image and the pages."""

from __future__ import annotations

import re
from typing import Any

import kubernetes_validate
import pytest
import yaml

from bot import __version__
from bot.service.executor import GRACE
from bot.settings import Settings
from tests.conftest import THOROUGH
from tests.process import ROOT

FILES = ["kubernetes.yaml", "kubernetes-postgresql.yaml"]
# The oldest Kubernetes that is promised, and the newest whose schemas are installed.
VERSIONS = ["1.30", kubernetes_validate.latest_version()]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def objects(file: str) -> list[dict[str, Any]]:
    """The objects of a manifest."""
    return list(yaml.safe_load_all((ROOT / "deploy" / file).read_text(encoding="utf-8")))


def named(file: str, kind: str) -> dict[str, Any]:
    """The only object of a kind."""
    (found,) = [item for item in objects(file) if item["kind"] == kind]
    return found


def pod(file: str) -> dict[str, Any]:
    """The pod of the deployment."""
    spec: dict[str, Any] = named(file, "Deployment")["spec"]["template"]["spec"]
    return spec


def container(file: str) -> dict[str, Any]:
    """The only container of the pod."""
    (found,) = pod(file)["containers"]
    return dict(found)


def environment(file: str) -> dict[str, str]:
    """The variables that the container gets."""
    direct = {each["name"]: each["value"] for each in container(file)["env"]}
    return {**named(file, "ConfigMap")["data"], **direct}


@THOROUGH
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("file", FILES)
def test_manifest_keeps_to_the_schemas(file: str, version: str) -> None:
    """Each object keeps to the published schema of its kind, without an unknown field."""
    for item in objects(file):
        kubernetes_validate.validate(item, version, strict=True)


@THOROUGH
@pytest.mark.parametrize("version", VERSIONS)
def test_schemas_find_a_wrong_field(version: str) -> None:
    """The check finds a field that Kubernetes would drop."""
    wrong = named("kubernetes.yaml", "Deployment")
    wrong["spec"]["template"]["spec"]["terminationGracePeriod"] = 30
    with pytest.raises(kubernetes_validate.ValidationError, match="terminationGracePeriod"):
        kubernetes_validate.validate(wrong, version, strict=True)


@pytest.mark.parametrize("file", FILES)
def test_objects_belong_together(file: str) -> None:
    """All objects have one name and one label, by which the others find the pods."""
    label = {"app.kubernetes.io/name": "cellcast-unsubscribe-bot"}
    for item in objects(file):
        assert item["metadata"] == {"name": "cellcast-unsubscribe-bot", "labels": label}
    deployment = named(file, "Deployment")["spec"]
    assert deployment["template"]["metadata"]["labels"] == deployment["selector"]["matchLabels"] == label
    assert named(file, "Service")["spec"]["selector"] == label
    assert container(file)["envFrom"] == [{"configMapRef": {"name": "cellcast-unsubscribe-bot"}}]


@pytest.mark.parametrize("file", FILES)
def test_variables_are_settings(file: str) -> None:
    """Each variable is a setting; each secret comes from a file of the Secret, which only the bot's group can read."""
    found = environment(file)
    assert {name.removesuffix("_FILE").lower() for name in found} <= Settings.model_fields.keys()
    secrets = {name: path for name, path in found.items() if name.endswith("_FILE")}
    assert {"SLACK_BOT_TOKEN_FILE", "SLACK_APP_TOKEN_FILE", "CELLCAST_API_KEY_FILE"} <= secrets.keys()
    assert secrets == {name: f"/secrets/{name.removesuffix('_FILE')}" for name in secrets}
    assert {"name": "secrets", "mountPath": "/secrets", "readOnly": True} in container(file)["volumeMounts"]
    (volume,) = [each["secret"] for each in pod(file)["volumes"] if "secret" in each]
    assert volume == {"secretName": "cellcast-unsubscribe-bot", "defaultMode": 0o440}


@pytest.mark.parametrize("file", FILES)
def test_bot_has_no_rights(file: str) -> None:
    """The bot is the image's user, and has no capability, no token of the cluster, and no tree that it could write."""
    security = pod(file)["securityContext"]
    user, group = map(int, re.findall(r"^USER (\d+):(\d+)$", DOCKERFILE, re.MULTILINE)[0])
    ids = {"runAsUser": user, "runAsGroup": group, "fsGroup": group}
    assert {name: security[name] for name in ids} == ids
    assert security["runAsNonRoot"] is True
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod(file)["automountServiceAccountToken"] is False
    assert container(file)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


@pytest.mark.parametrize("file", FILES)
def test_probes_and_service_reach_the_bot(file: str) -> None:
    """Probes and Service use the image's port; readiness is /healthz, and only a process without an answer is restarted."""
    (port,) = container(file)["ports"]
    exposed = re.findall(r"^EXPOSE (\d+)$", DOCKERFILE, re.MULTILINE)
    assert exposed == [str(port["containerPort"])] == [str(Settings.model_fields["port"].default)]
    probes = {name: probe["httpGet"] for name, probe in container(file).items() if name.endswith("Probe")}
    assert {name: get["path"] for name, get in probes.items()} == {
        "startupProbe": "/metrics",
        "readinessProbe": "/healthz",
        "livenessProbe": "/metrics",
    }
    (service,) = named(file, "Service")["spec"]["ports"]
    assert {get["port"] for get in probes.values()} == {service["targetPort"]} == {port["name"]}
    startup = container(file)["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] >= 120  # twice the migration of a million requests


@pytest.mark.parametrize("file", FILES)
def test_pod_has_time_to_stop(file: str) -> None:
    """Kubernetes kills the bot later than the bot ends by itself, also after the time before SIGTERM."""
    before = container(file).get("lifecycle", {"preStop": {"exec": {"command": ["sleep", "0"]}}})
    seconds = int(before["preStop"]["exec"]["command"][1])
    stop = Settings.model_fields["cellcast_timeout_seconds"].default + GRACE
    assert pod(file)["terminationGracePeriodSeconds"] > stop + seconds


@pytest.mark.parametrize("file", FILES)
def test_image_is_that_of_the_release(file: str) -> None:
    """The image has the name that the release gives it, and the version of this tree."""
    workflow = (ROOT / ".github" / "workflows" / "release.yaml").read_text(encoding="utf-8")
    assert container(file)["image"] == f"ghcr.io/example/cellcast-unsubscribe-bot:{__version__}"
    assert "ghcr.io/${GITHUB_REPOSITORY_OWNER,,}/cellcast-unsubscribe-bot" in workflow


def test_one_replica_on_sqlite() -> None:
    """SQLite has one replica, which stops before the next one starts, and a disk at the path that the image uses."""
    file = "kubernetes.yaml"
    spec = named(file, "Deployment")["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    assert {"name": "data", "mountPath": "/data"} in container(file)["volumeMounts"]
    assert "\nWORKDIR /data\n" in DOCKERFILE  # the default database is a file there
    claim = {"claimName": named(file, "PersistentVolumeClaim")["metadata"]["name"]}
    assert {"name": "data", "persistentVolumeClaim": claim} in pod(file)["volumes"]
    assert not {"DATABASE_URL", "DATABASE_URL_FILE"} & environment(file).keys()
    assert "PodDisruptionBudget" not in [item["kind"] for item in objects(file)]  # it would block each drain


def test_two_replicas_on_postgresql() -> None:
    """PostgreSQL has two replicas, of which one always stays: in an update, and in a drain."""
    file = "kubernetes-postgresql.yaml"
    spec = named(file, "Deployment")["spec"]
    assert spec["replicas"] == 2
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    budget = named(file, "PodDisruptionBudget")["spec"]
    assert budget == {"maxUnavailable": 1, "selector": spec["selector"]}
    assert environment(file)["DATABASE_URL_FILE"] == "/secrets/DATABASE_URL"
    assert "DATABASE_URL" not in environment(file)
    assert "DATABASE_URL=" not in DOCKERFILE
    assert [each["name"] for each in pod(file)["volumes"]] == ["secrets"]
