"""Names that are part of Berth's interface: the API group, and its labels and annotations."""

from typing import Final

GROUP: Final = "kaito.sh"
KIND: Final = "Workspace"
PLURAL: Final = "workspaces"
SINGULAR: Final = "workspace"
SHORT_NAMES: Final = ("wk", "wks")
CATEGORY: Final = "workspace"

VERSION: Final = "v1beta1"
"""The stored version, and the one the operator reads and writes."""

SERVED_VERSIONS: Final = ("v1alpha1", "v1beta1")
"""Both carry the same schema, so that no conversion is needed."""

API_VERSION: Final = f"{GROUP}/{VERSION}"

FIELD_MANAGER: Final = "berth"
"""The operator's field manager in server-side apply."""

CONTAINER: Final = "inference"
"""The server's container in every pod that Berth renders."""

VLLM_CONTAINER: Final = "vllm"
"""vLLM's container, beside the server's in pods of the runtime `vllm`."""

FETCH_CONTAINER: Final = "fetch-weights"
"""The init container that downloads the weights, in pods of presets that need it."""

ADAPTER_PREFIX: Final = "adapter-"
"""Before an adapter's name, in the names of its init container and its volume."""

SERVER_PORT: Final = 5000
SERVICE_PORT: Final = 80
PORT_NAME: Final = "http"

TOKEN_KEY: Final = "HF_TOKEN"  # noqa: S105 - the name of a key, not a token
"""The key that holds the hub's token in the Secret named by `modelAccessSecret`; also the variable's name."""

LABEL_WORKSPACE: Final = "kaito.sh/workspace"
"""On everything made for a Workspace; its value is the Workspace's name."""

LABEL_GROUP: Final = "berth.dev/group"
"""On pods that hold one copy of a model together, over several nodes; its value is the Workspace's name."""

LABEL_POD_NAME: Final = "statefulset.kubernetes.io/pod-name"
LABEL_POD_INDEX: Final = "apps.kubernetes.io/pod-index"
"""Set by a StatefulSet's controller on its pods; the second since Kubernetes 1.28."""

LABEL_MANAGED_BY: Final = "app.kubernetes.io/managed-by"
LABEL_NAME: Final = "app.kubernetes.io/name"
LABEL_INSTANCE: Final = "app.kubernetes.io/instance"
MANAGED_BY: Final = "berth"

LABEL_INSTANCE_TYPE: Final = "node.kubernetes.io/instance-type"
"""The node label that `resource.instanceType` is matched against."""

LABEL_HOSTNAME: Final = "kubernetes.io/hostname"

ANNOTATION_ENABLE_LB: Final = "kaito.sh/enablelb"
"""`"True"` asks for a Service of type LoadBalancer."""

ANNOTATION_RUNTIME: Final = "kaito.sh/runtime"
"""What computes a preset's tokens: `transformers` (the default), which is Berth's own server, or `vllm`."""

RUNTIME_TRANSFORMERS: Final = "transformers"
RUNTIME_VLLM: Final = "vllm"
RUNTIMES: Final = (RUNTIME_TRANSFORMERS, RUNTIME_VLLM)

ANNOTATION_BYPASS: Final = "kaito.sh/bypass-resource-checks"
"""Present: a model that seems not to fit is a warning, not a refusal."""

ANNOTATION_ACCELERATOR: Final = "berth.dev/accelerator"
"""`cpu` runs a preset without a GPU; `nvidia` (the default of GPU presets) with."""

ANNOTATION_ROLLOUT: Final = "berth.dev/rollout"
"""`surge` (the default) starts a new pod before an old one ends; `recreate` ends the old ones first."""

ROLLOUT_SURGE: Final = "surge"
ROLLOUT_RECREATE: Final = "recreate"

ANNOTATION_REPLICAS: Final = "berth.dev/replicas"
"""`external`: something else scales the Deployment, and `resource.count` is only what it starts with."""

REPLICAS_EXTERNAL: Final = "external"

ANNOTATION_API_KEY_SECRET: Final = "berth.dev/api-key-secret"  # noqa: S105 - the name of an annotation
"""Names a Secret, each of whose values is an API key; the server then asks for one."""

ANNOTATION_WEIGHTS: Final = "berth.dev/weights"
"""Where the weights are kept: `pod`, `node`, `claim/NAME`, `storage-class` or `storage-class/NAME`."""

ANNOTATION_LOCAL_WEIGHTS: Final = "kaito.sh/use-local-weights"
"""`"true"`: in a folder of the node, as `berth.dev/weights: node`."""

OWN_ANNOTATIONS: Final[dict[str, tuple[str, ...]]] = {
    ANNOTATION_ACCELERATOR: ("cpu", "nvidia"),
    ANNOTATION_API_KEY_SECRET: (),
    ANNOTATION_ROLLOUT: (ROLLOUT_SURGE, ROLLOUT_RECREATE),
    ANNOTATION_REPLICAS: (REPLICAS_EXTERNAL,),
    ANNOTATION_WEIGHTS: (),
}
"""Every annotation of ours that a Workspace may carry, with the values that it may have: none listed where the
value is judged by who uses it."""

ANNOTATION_ENDPOINT: Final = "berth.dev/endpoint"
"""On a Service: the address at which it answers, where its cluster address does not."""
