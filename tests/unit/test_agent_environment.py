"""What a container's process is started with: words, variables, folders."""

import base64
from pathlib import Path
from typing import Any

import pytest

from agent_objects import container, pod
from berth_local.agent.addresses import Address, allot
from berth_local.agent.host import base_environment
from berth_local.agent.plan.endpoints import ServicePort, endpoint_slice, endpoints_of, service_ports
from berth_local.agent.plan.environment import (
    ConfigError,
    Sources,
    command_line,
    environment_of,
    expand,
    translate,
)
from berth_local.agent.plan.images import INFERENCE, find_image, refusal, repository_name
from berth_local.agent.plan.objects import uid_of
from berth_local.agent.volumes import make_volumes, mounts_of

MOUNTS = {"/tmp": "/state/tmp", "/var/cache/berth": "/state/weights", "/var": "/state/var"}
SOURCES = Sources(
    secrets={"hf": {"HF_TOKEN": "/tmp/secret"}},
    config_maps={"settings": {"A": "1", "B": "/tmp/b"}},
    fields={"status.podIP": "127.100.0.1"},
    allocatable={"cpu": "4"},
)


def variables(*env: dict[str, Any], **more: Any) -> dict[str, str]:
    return environment_of(container(env=list(env), **more), pod("web-1"), SOURCES, MOUNTS)


def value_from(**origin: Any) -> dict[str, str]:
    return variables({"name": "X", "valueFrom": origin})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/tmp", "/state/tmp"),
        ("/tmp/x", "/state/tmp/x"),
        ("/tmpx", "/tmpx"),
        ("/var/cache/berth/hub", "/state/weights/hub"),
        ("/var/log", "/state/var/log"),
        ("--cache=/tmp/x", "--cache=/state/tmp/x"),
        ("--cache=x/tmp", "--cache=x/tmp"),
        ("--adapter=a:0.5=/tmp/x", "--adapter=a:0.5=/state/tmp/x"),
        ("a=/tmp", "a=/tmp"),
        ("x /tmp", "x /tmp"),
    ],
)
def test_a_mount_path_at_the_beginning_becomes_its_folder(text: str, expected: str) -> None:
    assert translate(text, MOUNTS) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("$(A)-$(B)", "1-2"), ("$(C)", "$(C)"), ("$$(A)", "$(A)"), ("$A", "$A"), ("$$$(A)", "$1")],
)
def test_references_expand_where_the_variable_is_set(text: str, expected: str) -> None:
    assert expand(text, {"A": "1", "B": "2"}) == expected


def test_variables_refer_to_those_before_them() -> None:
    assert variables({"name": "A", "value": "1"}, {"name": "B", "value": "$(A)2"}) == {"A": "1", "B": "12"}


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ({"secretKeyRef": {"name": "hf", "key": "HF_TOKEN"}}, {"X": "/tmp/secret"}),
        ({"secretKeyRef": {"name": "none", "key": "HF_TOKEN", "optional": True}}, {}),
        ({"configMapKeyRef": {"name": "settings", "key": "B"}}, {"X": "/state/tmp/b"}),
        ({"fieldRef": {"fieldPath": "metadata.name"}}, {"X": "web-1"}),
        ({"fieldRef": {"fieldPath": "metadata.labels['app']"}}, {"X": "web"}),
        ({"fieldRef": {"fieldPath": "status.podIP"}}, {"X": "127.100.0.1"}),
        ({"resourceFieldRef": {"resource": "limits.cpu"}}, {"X": "4"}),
    ],
    ids=[
        "a secret, as it is",
        "an optional one",
        "a config map",
        "a field",
        "a label",
        "the address",
        "a limit",
    ],
)
def test_a_variable_is_taken_from_where_it_points(origin: dict[str, Any], expected: dict[str, str]) -> None:
    assert value_from(**origin) == expected


@pytest.mark.parametrize(
    ("origin", "message"),
    [
        ({"secretKeyRef": {"name": "none", "key": "k"}}, 'secret "none" not found'),
        ({"secretKeyRef": {"name": "hf", "key": "k"}}, "couldn't find key k in Secret default/hf"),
        ({"configMapKeyRef": {"name": "none", "key": "k"}}, 'configmap "none" not found'),
        ({"fieldRef": {"fieldPath": "spec.color"}}, "field label not supported: spec.color"),
        ({"fileKeyRef": {}}, "the embedded agent does not know the variable source fileKeyRef"),
    ],
)
def test_what_a_variable_lacks_is_said_as_a_kubelet_says_it(origin: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        value_from(**origin)
    assert str(error.value) == message


def test_all_of_a_config_map_comes_with_its_prefix() -> None:
    env_from = [{"prefix": "P_", "configMapRef": {"name": "settings"}}]
    assert variables(envFrom=env_from) == {"P_A": "1", "P_B": "/tmp/b"}


@pytest.mark.parametrize(
    ("spec", "line"),
    [
        ({"command": ["python", "-c", "x"]}, ["PY", "-c", "x"]),
        ({"args": ["--model", "$(M)"]}, ["PY", "-m", "berth_inference", "serve", "--model", "tiny"]),
        ({"command": ["sh"], "args": ["/tmp/run"]}, ["sh", "/state/tmp/run"]),
    ],
    ids=["a command of its own", "the image's command with arguments", "paths"],
)
def test_the_command_line(spec: dict[str, Any], line: list[str]) -> None:
    assert command_line(container(**spec), INFERENCE.entrypoint, {"M": "tiny"}, MOUNTS, "PY") == line


def test_processes_inherit_nothing_of_the_users_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("KUBECONFIG", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "PYTHONPATH"):
        monkeypatch.setenv(name, "mine")
    assert set(base_environment(tmp_path)) == {"PATH", "HOME", "LANG"}
    assert base_environment(tmp_path)["HOME"] == str(tmp_path)


@pytest.mark.parametrize(
    "reference",
    [
        "berth-inference",
        "ghcr.io/berth-dev/berth-inference:0.1-cpu",
        "localhost:5000/berth-inference@sha256:00",
    ],
)
def test_berths_image_is_known_whatever_its_registry_and_tag(reference: str) -> None:
    assert find_image(reference, [INFERENCE]) is INFERENCE


@pytest.mark.parametrize("reference", ["nginx", "x/berth-inference-cuda:1", "berth-inference/nginx:1", ""])
def test_other_images_are_foreign_and_the_refusal_names_them(reference: str) -> None:
    assert find_image(reference, [INFERENCE]) is None
    assert repr(reference) in refusal(reference, [INFERENCE])
    assert repository_name(reference) != "berth-inference"


def secret(**data: bytes) -> dict[str, Any]:
    encoded = {name: base64.b64encode(value).decode() for name, value in data.items()}
    return {"kind": "Secret", "metadata": {"name": "s"}, "data": encoded}


def test_volumes_become_folders_with_what_they_hold(tmp_path: Path) -> None:
    volumes = [
        {"name": "scratch", "emptyDir": {}},
        {"name": "keys", "secret": {"secretName": "s", "defaultMode": 0o400}},
        {"name": "one", "secret": {"secretName": "s", "items": [{"key": "k", "path": "a/b"}]}},
    ]
    made = make_volumes(pod(volumes=volumes), tmp_path, {"s": secret(k=b"\x00v")}, {})
    assert made["scratch"].is_dir()
    assert (made["keys"] / "k").read_bytes() == b"\x00v"
    assert (made["keys"] / "k").stat().st_mode & 0o777 == 0o400
    assert (made["one"] / "a" / "b").read_bytes() == b"\x00v"
    mounts = [
        {"name": "scratch", "mountPath": "/tmp"},
        {"name": "scratch", "mountPath": "/x", "subPath": "sub"},
    ]
    assert mounts_of(container(volumeMounts=mounts), made) == {
        "/tmp": str(tmp_path / "scratch"),
        "/x": str(tmp_path / "scratch" / "sub"),
    }


def test_files_follow_their_secret_and_nothing_else_is_written_anew(tmp_path: Path) -> None:
    volumes = [
        {"name": "scratch", "emptyDir": {}},
        {"name": "keys", "secret": {"secretName": "s"}},
        {"name": "others", "secret": {"secretName": "t"}},
    ]
    asked = pod(volumes=volumes)
    made = make_volumes(asked, tmp_path, {"s": secret(old=b"1", both=b"2"), "t": secret(k=b"v")}, {})
    (made["scratch"] / "mine").touch()
    before = (made["others"] / "k").stat().st_ino
    make_volumes(asked, tmp_path, {"s": secret(new=b"3", both=b"4"), "t": secret(k=b"v")}, {})
    files = {file.name: file.read_bytes() for file in made["keys"].iterdir()}
    assert files == {"new": b"3", "both": b"4"}
    assert (made["others"] / "k").stat().st_ino == before
    assert (made["scratch"] / "mine").exists()


@pytest.mark.parametrize(
    ("volume", "message"),
    [
        ({"secret": {"secretName": "none"}}, 'secret "none" not found'),
        ({"configMap": {"name": "none"}}, 'configmap "none" not found'),
        ({"secret": {"secretName": "s", "items": [{"key": "x", "path": "x"}]}}, 'secret "s" has no key "x"'),
        (
            {"secret": {"secretName": "s", "items": [{"key": "k", "path": "../x"}]}},
            "not a path inside the volume",
        ),
        ({"hostPath": {"path": "/etc"}}, "is of kind hostPath"),
        ({"persistentVolumeClaim": {"claimName": "c"}}, "is of kind persistentVolumeClaim"),
    ],
)
def test_a_volume_that_cannot_be_made_is_named(tmp_path: Path, volume: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_volumes(pod(volumes=[{"name": "v", **volume}]), tmp_path, {"s": secret(k=b"v")}, {})


def test_a_mount_without_a_volume_is_refused() -> None:
    with pytest.raises(ConfigError, match='volume mount "v" of container "main" has no volume'):
        mounts_of(container(volumeMounts=[{"name": "v", "mountPath": "/v"}]), {})


def service(**spec: Any) -> dict[str, Any]:
    body = {
        "clusterIP": "127.96.0.1",
        "selector": {"app": "web"},
        "ports": [{"port": 80, "targetPort": "http"}],
        **spec,
    }
    return {"metadata": {"name": "web", "namespace": "default", "uid": "service-uid"}, "spec": body}


def test_a_service_reaches_the_ready_pods_that_it_selects() -> None:
    ports = {"containers": [container(ports=[{"name": "http", "containerPort": 5000}])]}
    serving = pod("a", True, created=20, **ports)
    older = pod("b", True, created=30, **ports)
    pods = [
        serving,
        older,
        pod("unready", False, **ports),
        pod("leaving", True, going=True, **ports),
        pod("other", True, labels={"app": "x"}, **ports),
        pod("elsewhere", True, **ports),
    ]
    addresses = {uid_of(one): Address(f"127.100.0.{n}", {5000: 6000 + n}) for n, one in enumerate(pods[:-1])}
    (port,) = service_ports(service())
    assert endpoints_of(service(), port, pods, addresses.get) == [
        ("127.100.0.1", 6001),
        ("127.100.0.0", 6000),
    ]


def test_an_endpoint_slice_shows_every_pod_with_an_address_and_which_of_them_serve() -> None:
    ports = {"containers": [container(ports=[{"name": "http", "containerPort": 5000}])]}
    pods = [
        pod("a", True, created=30, **ports),
        pod("b", False, created=20, **ports),
        pod("c", True, created=10, going=True, **ports),
    ]
    shown = endpoint_slice(service(), service_ports(service()), pods, lambda _: Address("127.100.0.1"))
    assert [(one["targetRef"]["name"], *one["conditions"].values()) for one in shown["endpoints"]] == [
        ("a", True, True, False),
        ("b", False, False, False),
        ("c", False, True, True),
    ]
    assert shown["ports"] == [{"name": "", "port": 5000, "protocol": "TCP"}]
    assert shown["metadata"]["labels"]["kubernetes.io/service-name"] == "web"


@pytest.mark.parametrize(
    "spec",
    [{"clusterIP": "None"}, {"clusterIP": ""}, {"selector": {}}, {"type": "ExternalName"}, {"ports": []}],
)
def test_a_service_without_an_address_or_a_selector_is_not_listened_for(spec: dict[str, Any]) -> None:
    assert service_ports(service(**spec)) == ()


def test_a_port_without_a_target_means_the_same_port() -> None:
    assert service_ports(service(ports=[{"port": 80}, {"port": 53, "protocol": "UDP"}])) == (
        ServicePort(80, 80),
    )


def test_where_pods_share_an_address_the_first_port_is_a_free_one() -> None:
    address = allot([5000, 9000], own=False)
    assert address.ip == "127.0.0.1"
    assert address.port(5000) != 5000
    assert address.port(9000) == 9000
