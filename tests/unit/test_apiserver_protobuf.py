"""The protobuf bodies that kubectl's create commands send."""

import pytest

from berth_local.apiserver.errors import ApiError
from berth_local.apiserver.protobuf import read_protobuf


def field(number: int, content: bytes | str | int) -> bytes:
    if isinstance(content, int):
        return bytes([number << 3, content])
    data = content.encode() if isinstance(content, str) else content
    size = bytes([len(data)]) if len(data) < 128 else bytes([len(data) & 0x7F | 0x80, len(data) >> 7])
    return bytes([number << 3 | 2]) + size + data


def body(kind: str, *fields: bytes) -> bytes:
    identity = field(1, "v1") + field(2, kind)
    return b"k8s\x00" + field(1, identity) + field(2, b"".join(fields)) + field(3, "") + field(4, "")


META = field(
    1, field(1, "x") + field(3, "default") + field(8, b"") + field(11, field(1, "a") + field(2, "b"))
)


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (body("Namespace", META, field(2, b""), field(3, b"")), {"spec": {}, "status": {}}),
        (body("ConfigMap", META, field(2, field(1, "k") + field(2, "v" * 200))), {"data": {"k": "v" * 200}}),
        (
            body(
                "Secret", META, field(2, field(1, "k") + field(2, b"\xff")), field(3, "Opaque"), field(5, 1)
            ),
            {"data": {"k": "/w=="}, "type": "Opaque", "immutable": True},
        ),
        (body("ServiceAccount", META), {}),
    ],
    ids=["a namespace", "a config map", "a secret", "a service account"],
)
def test_what_kubectl_create_sends_is_read(data: bytes, found: dict[str, object]) -> None:
    read = read_protobuf(data)
    assert read.pop("metadata") == {"name": "x", "namespace": "default", "labels": {"a": "b"}}
    assert {read.pop("apiVersion"), read.pop("kind")} > {"v1"}
    assert read == found


@pytest.mark.parametrize(
    ("data", "code", "message"),
    [
        (b"{}", 400, "does not begin"),
        (body("Namespace", META)[:-12], 400, "ends too early"),
        (body("Namespace", field(9, "x")), 400, "field 9 is not understood"),
        (body("Deployment", META), 415, "kubectl apply -f -"),
        (b"k8s\x00\xff", 400, "cannot be read"),
    ],
    ids=["no protobuf", "cut off", "an unknown field", "another kind", "half a number"],
)
def test_what_is_not_understood_is_refused_with_a_way_out(data: bytes, code: int, message: str) -> None:
    with pytest.raises(ApiError) as refused:
        read_protobuf(data)
    assert refused.value.code == code
    assert message in refused.value.message
