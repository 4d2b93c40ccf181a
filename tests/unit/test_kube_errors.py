"""Which failed answers of an API server are worth asking again for."""

from __future__ import annotations

import json

import pytest

from berth_operator.kube import Conflict, KubeError, NotFound, Refused, error_from, object_from


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        pytest.param(400, "bad", Refused, id="a bad request cannot succeed"),
        pytest.param(403, "no", Refused, id="nor one that is forbidden"),
        pytest.param(422, "invalid", Refused, id="nor one that is invalid"),
        pytest.param(404, "gone", NotFound, id="what is not there is told apart"),
        pytest.param(409, "stale", Conflict, id="so is a conflict"),
        pytest.param(500, "etcd has no leader", KubeError, id="a server in trouble may recover"),
        pytest.param(
            500,
            "failed to create typed patch object (n/w; apps/v1): .spec.x: field not declared in schema",
            Refused,
            id="server-side apply answers 500 to a field that does not exist",
        ),
        pytest.param(
            500,
            "failed to convert new object (n/w; apps/v1): quantities must match the regular expression '...'",
            Refused,
            id="and to a quantity that is none",
        ),
        pytest.param(500, "etcdserver: request is too large", Refused, id="and to more than etcd takes"),
        pytest.param(413, "limit is 3145728", Refused, id="what is too long for a request stays so"),
    ],
)
def test_an_answer_is_read_by_its_status_and_its_words(
    status: int, message: str, kind: type[KubeError]
) -> None:
    body = json.dumps({"kind": "Status", "code": status, "reason": "", "message": message})
    error = error_from(status, {}, body)
    assert type(error) is kind
    assert message in str(error)


def test_a_page_of_html_is_not_believed() -> None:
    error = error_from(502, {}, "<html>secret.internal is down</html>")
    assert str(error) == "the API server answered 502 (502 Unknown)"


def test_a_wait_that_the_server_asks_for_is_kept() -> None:
    body = json.dumps({"kind": "Status", "reason": "TooManyRequests", "message": "later"})
    assert error_from(429, {"Retry-After": "7"}, body).retry_after == 7


@pytest.mark.parametrize(
    "text", ["<html>please log in</html>", "", "null", "[]", '"text"', "{}", '{"kind": ""}']
)
def test_what_is_no_object_is_an_answer_that_did_not_come(text: str) -> None:
    with pytest.raises(KubeError, match="no object of Kubernetes") as raised:
        object_from(text)
    assert raised.value.status == 0
