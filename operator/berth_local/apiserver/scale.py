"""The scale subresource: how many replicas are wanted, apart from everything else."""

from berth_local.apiserver.errors import bad_request
from berth_local.apiserver.kinds.columns import selector_text
from berth_local.apiserver.objects import Object, clone, dig


def scale_of(body: Object) -> Object:
    """Return an object's Scale (autoscaling/v1)."""
    meta = body["metadata"]
    kept = {
        key: meta[key]
        for key in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
        if key in meta
    }
    status: Object = {"replicas": dig(body, "status", "replicas") or 0}
    selector = dig(body, "spec", "selector")
    if selector:
        status["selector"] = selector_text(selector)
    replicas = dig(body, "spec", "replicas") or 0
    spec = {"replicas": replicas} if replicas else {}
    return {"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": kept, "spec": spec, "status": status}


def scaled(body: Object, scale: Object) -> Object:
    """Return an object with the replicas that a Scale asks for; ApiError 400 when it asks for nonsense."""
    replicas = dig(scale, "spec", "replicas") or 0
    if not isinstance(replicas, int) or isinstance(replicas, bool):
        raise bad_request(
            'Scale in version "v1" cannot be handled as a Scale: json: cannot unmarshal into Go struct field '
            "ScaleSpec.spec.replicas of type int32"
        )
    result: Object = clone(body)
    result["spec"]["replicas"] = replicas
    result["metadata"]["resourceVersion"] = dig(scale, "metadata", "resourceVersion") or ""
    return result
