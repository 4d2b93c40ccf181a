"""What each reason means, where it comes from and what to do: the words of `docs/conditions.md`."""

from dataclasses import dataclass
from typing import Final

from berth_operator.plan.reasons import Reason


@dataclass(frozen=True, slots=True)
class Explanation:
    """One row of the page."""

    meaning: str
    cause: str
    fix: str


_NOTHING = "Nothing."
_WAIT = "Wait; the message says what is being done and how far it is."

EXPLANATIONS: Final[dict[Reason, Explanation]] = {
    Reason.SERVING: Explanation(
        "Every replica of the current template answers.", "All is as it should be.", _NOTHING
    ),
    Reason.SCHEDULED: Explanation("Every pod has a node.", "All is as it should be.", _NOTHING),
    Reason.INVALID_WORKSPACE: Explanation(
        "A field cannot be carried out. What ran before goes on running.",
        "A value that the API server's schema does not catch; the message names each field.",
        "Correct the fields and apply again.",
    ),
    Reason.UNKNOWN_PRESET: Explanation(
        "There is no preset of this name.",
        "A slip in `inference.preset.name`, or a preset that this release does not bring.",
        "Delete the Workspace, take a name from the message (or `berth presets`), apply again: the name of a preset "
        "cannot be changed.",
    ),
    Reason.ACCESS_SECRET_REQUIRED: Explanation(
        "The model is gated and no token is given.",
        "Its owner asks for a licence to be accepted before anyone downloads it.",
        "Accept the licence on the hub, put a token into a Secret under `HF_TOKEN`, name the Secret in "
        "`inference.preset.presetOptions.modelAccessSecret`.",
    ),
    Reason.NOT_SUPPORTED: Explanation(
        "The Workspace asks for something that this version does not do.",
        "A field or annotation that would have no effect; nothing is ignored in silence.",
        "Do what the message says instead.",
    ),
    Reason.INVALID_CONFIG: Explanation(
        "The ConfigMap of `inference.config` holds a setting that the server does not have or does not accept. What "
        "ran before goes on running.",
        "A slip in its `inference_config.yaml`; the message names the key.",
        "Correct the key in the ConfigMap. It is looked at again within 20 s.",
    ),
    Reason.DOES_NOT_FIT: Explanation(
        "The model does not fit into the memory of the GPUs that it may use. No pod was made.",
        "The preset's computed need is above what `resource.instanceType`, or the largest matching node, has.",
        "Take the instance type that the message suggests, or a smaller preset; vLLM can hold it on several nodes "
        "together, if `resource.count` asks for as many as the message says. If you know better than the "
        'arithmetic, annotate the Workspace with `kaito.sh/bypass-resource-checks: "true"`.',
    ),
    Reason.NAME_CONFLICT: Explanation(
        "An object that Berth did not make has the name of one that the Workspace needs. It is left alone.",
        "Somebody else's object, or one of an earlier Workspace that is still being deleted.",
        "Rename or delete it, or give the Workspace another name. Looked at again every 30 s.",
    ),
    Reason.REFUSED_BY_CLUSTER: Explanation(
        "The API server refuses the Deployment or the Service.",
        "A policy, a missing right of the operator, or a value that the API server checks more closely.",
        "Read the API server's words in the message; change the Workspace or the policy. Looked at again every 30 s.",
    ),
    Reason.ROLLOUT_PAUSED: Explanation(
        "The Deployment is paused, and an edit waits. What served goes on serving.",
        "Somebody has run `kubectl rollout pause`.",
        "`kubectl rollout resume deployment NAME`.",
    ),
    Reason.QUOTA_EXCEEDED: Explanation(
        "The namespace's quota is used up: no pod is created.",
        "A ResourceQuota; the message has what is asked, used and allowed.",
        "Raise the quota, or delete or shrink what else uses it.",
    ),
    Reason.ADMISSION_REFUSED: Explanation(
        "An admission policy refuses the pods.",
        "Pod security, a ValidatingAdmissionPolicy, a webhook, a limit range, or a quota of limits that the pods do "
        "not name; the message has its words.",
        "Change the policy, or the part of the Workspace that it objects to. For such a quota, give the namespace a "
        "LimitRange with defaults.",
    ),
    Reason.POD_CREATION_FAILED: Explanation(
        "The ReplicaSet cannot create its pods, for another reason.",
        "A service account that does not exist, a webhook that does not answer; the message has the API server's "
        "words.",
        "Do what they ask for, and look at the namespace's policies.",
    ),
    Reason.SECRET_MISSING: Explanation(
        "A Secret that the pod needs is not there, or lacks a key. One that holds API keys may be empty.",
        "It was never made in this namespace, was deleted, or is named wrongly in the Workspace.",
        "Create it, or the key in it, in the Workspace's namespace. The pod starts by itself then.",
    ),
    Reason.CONFIG_MAP_MISSING: Explanation(
        "A ConfigMap that is named is not there, or lacks a key.",
        "It was never made in this namespace, was deleted, or is named wrongly.",
        "Create it, or the key in it, in the Workspace's namespace. The pod starts by itself then.",
    ),
    Reason.PULL_SECRET_MISSING: Explanation(
        "An image pull secret is not there, and the image cannot be had without it.",
        "It was never made in this namespace; pull secrets are not found across namespaces.",
        "`kubectl create secret docker-registry NAME ...` in the Workspace's namespace.",
    ),
    Reason.VOLUME_UNAVAILABLE: Explanation(
        "A volume of the pod cannot be had or mounted.",
        "A claim that does not exist or is not bound, a node's folder that does not exist, a volume attached to "
        "another node, a driver that fails; the message has its words.",
        "Put right what they name; the kubelet tries again by itself.",
    ),
    Reason.IMAGE_NOT_FOUND: Explanation(
        "The registry does not have the image.",
        "A slip in its name or tag, an image that was never pushed, or only for other processors, or a registry that "
        "hides what you may not see.",
        "Correct the name, or push the image, for the nodes' processor. For a private registry, name an image pull "
        "secret.",
    ),
    Reason.IMAGE_ACCESS_DENIED: Explanation(
        "The registry refuses to hand out the image.",
        "No image pull secret, or one whose credentials are wrong or have expired.",
        "Create the Secret anew with `kubectl create secret docker-registry`, and name it in `imagePullSecrets`.",
    ),
    Reason.IMAGE_RATE_LIMITED: Explanation(
        "The registry has had too many requests from here.",
        "Anonymous pulls are counted by address, and a whole cluster often shares one.",
        "Wait, name an image pull secret of an account, or pull through a mirror of your own.",
    ),
    Reason.IMAGE_PULL_FAILED: Explanation(
        "The image cannot be fetched, for another reason.",
        "A registry that does not answer, a name that is no image's, a full disk; the message has the kubelet's words.",
        "Put right what they name; the kubelet tries again by itself.",
    ),
    Reason.NO_MATCHING_NODE: Explanation(
        "No node carries the labels that the Workspace asks for.",
        "`resource.labelSelector` (or a template's own affinity) matches none of the nodes there are.",
        "Label a node, add one, or change the selector.",
    ),
    Reason.INSTANCE_TYPE_MISSING: Explanation(
        "No node is of the instance type that the Workspace asks for.",
        "There is none yet: a node autoscaler may be bringing it, or there is no such node pool, or no quota for it.",
        "Wait for the autoscaler, add a node pool of this type, or change `resource.instanceType`.",
    ),
    Reason.DEVICE_PLUGIN_MISSING: Explanation(
        "A node has GPUs but offers none to pods.",
        "NVIDIA's device plugin does not run there, its driver is not installed or not ready, or the GPUs are not "
        "healthy.",
        "Install the GPU operator or the device plugin; see its DaemonSet's pods on that node.",
    ),
    Reason.INSUFFICIENT_GPUS: Explanation(
        "No matching node has as many GPUs as one pod asks for, even when it is empty.",
        "The nodes are too small, or have no GPU.",
        "Add a node with enough GPUs, choose a smaller preset, or run it on the CPU with the annotation "
        "`berth.dev/accelerator: cpu`.",
    ),
    Reason.NO_FREE_GPU: Explanation(
        "There are enough GPUs, and all are taken.",
        "Other pods hold them; the message names them, and nodes with GPUs that take no pods.",
        "Free one, open such a node, add one, or lower `resource.count`.",
    ),
    Reason.INSUFFICIENT_MEMORY: Explanation(
        "No matching node has enough free memory.",
        "The pod asks for more memory than is left, or than any node has.",
        "Add a larger node, or free what runs on these.",
    ),
    Reason.INSUFFICIENT_CPU: Explanation(
        "No matching node has enough free CPU.",
        "The pod asks for more CPU than is left, or than any node has.",
        "Add a larger node, or free what runs on these.",
    ),
    Reason.INSUFFICIENT_DISK: Explanation(
        "No matching node has enough free disk for the weights.",
        "The pod asks for more `ephemeral-storage` than is left, or than any node has.",
        "Add a node with a larger disk, or free what is on these.",
    ),
    Reason.NODES_TAINTED: Explanation(
        "The nodes that match are tainted, and the pods do not tolerate it.",
        "The nodes are kept for something else, or are being drained.",
        "Remove the taint, or use other nodes. The taints `nvidia.com/gpu` and `sku=gpu` are tolerated.",
    ),
    Reason.NODES_NOT_READY: Explanation(
        "The nodes that match take no pods at present.",
        "They are cordoned, not ready, or short of memory, disk or processes.",
        "`kubectl uncordon NODE`, or see `kubectl describe node`.",
    ),
    Reason.UNSCHEDULABLE: Explanation(
        "The scheduler finds no node, for another reason, or no scheduler looks at the pod.",
        "The message has the scheduler's words, or the name of the scheduler that is waited for.",
        "Put right what they name.",
    ),
    Reason.ROLLOUT_BLOCKED: Explanation(
        "An edit cannot be rolled out: the new pod waits for a GPU, memory, CPU or disk that the old one holds. What "
        "served goes on serving.",
        "Pods are replaced one by one with the new one first, and there is no room for one more.",
        "Add a node, or annotate the Workspace with `berth.dev/rollout: recreate`, which ends the old pod first: "
        "nothing serves until the new one has loaded.",
    ),
    Reason.NODE_LOST: Explanation(
        "The node that runs the pod does not answer.",
        "The machine or its kubelet is down, or the network to it.",
        "See `kubectl describe node`. Kubernetes moves the pod after five minutes if another node can take it.",
    ),
    Reason.POD_STUCK: Explanation(
        "A pod that is to go does not go, and with `berth.dev/rollout: recreate` no other starts before it has gone.",
        "A kubelet that cannot end its process, as when the GPU's driver hangs, or a finalizer of somebody else's.",
        "`kubectl describe pod POD`; restart the machine, and when it is surely off, `kubectl delete pod POD "
        "--grace-period=0 --force`.",
    ),
    Reason.POD_REJECTED: Explanation(
        "A node does not take the pod that it was given.",
        "What it offered is gone: GPUs that are not healthy or taken meanwhile, a label or taint that changed, a node "
        "that is shutting down; the message has the kubelet's words.",
        "Put right what they name; `kubectl cordon NODE` sends the next pod to another node. Pods that have ended stay "
        "as records: `kubectl delete pods --field-selector status.phase=Failed`.",
    ),
    Reason.POD_EVICTED: Explanation(
        "The node put the pod out.",
        "It ran short of disk or memory, was shut down, or made room for a pod of the system; the message says which.",
        "Free what it lacks, or use a node with more. Another pod is made by itself.",
    ),
    Reason.NODE_UNDER_PRESSURE: Explanation(
        "The pod's node is short of memory, disk or processes, and the pod does not serve.",
        "Other pods, images or logs use it up.",
        "Free it, or move the pod to another node.",
    ),
    Reason.CONTAINER_CONFIG_ERROR: Explanation(
        "The container cannot be set up, for a reason other than a missing Secret or ConfigMap.",
        "The message has the kubelet's words.",
        "Put right what they name; the kubelet tries again by itself.",
    ),
    Reason.CONTAINER_START_FAILED: Explanation(
        "The node cannot start the container's command.",
        "An image that is not Berth's server, or not for this processor; or a runtime that fails.",
        "Check the image; see `kubectl describe pod`.",
    ),
    Reason.GPU_OUT_OF_MEMORY: Explanation(
        "The model does not fit into the GPU's memory, as the server found when it loaded it.",
        "The GPU is too small, or another process uses part of it.",
        "Use a larger GPU or a smaller preset; `berth plan` shows what a preset needs. Under the runtime `vllm`, lower "
        "`max-model-len`.",
    ),
    Reason.OUT_OF_MEMORY: Explanation(
        "The container used more main memory than it may, and was killed (exit 137).",
        "The memory limit, or the node's memory, is too small for what it does.",
        "Use nodes with more memory, or a smaller preset.",
    ),
    Reason.MODEL_ACCESS_DENIED: Explanation(
        "The hub refuses the model to this token.",
        "The licence was not accepted by the token's owner, the token is wrong or has expired, or there is none.",
        "Accept the licence, and put a token that may read the model into the Secret under `HF_TOKEN`.",
    ),
    Reason.MODEL_UNAVAILABLE: Explanation(
        "The server, or the step before it that fetches the weights, cannot get or read the model.",
        "It is not on the hub, the hub cannot be reached or takes no more requests, its files arrive damaged, the "
        "volume cannot be written to, or it is in a format that is not read.",
        "The message has the server's words and remedy. See [weights](weights.md).",
    ),
    Reason.INVALID_ADAPTER: Explanation(
        "A LoRA adapter of `inference.adapters` cannot be merged into the model, or not be got out of its image.",
        "It was trained for another model, its files are missing or damaged, or it is of a kind that cannot be merged; "
        "the message names the adapter and says which.",
        "Correct the adapter's image or volume, or remove it from `inference.adapters`; see "
        "[adapters](adapters.md#when-an-adapter-cannot-be-merged).",
    ),
    Reason.DISK_FULL: Explanation(
        "There is no space left for the weights.",
        "The volume, the node's disk, or a limit on the pod's storage, is smaller than the weights.",
        "Use a larger volume (annotation `berth.dev/weights`, see [weights](weights.md)), or a node with a larger "
        "disk.",
    ),
    Reason.STARTUP_TIMED_OUT: Explanation(
        "The server was ended because it did not serve within the preset's readiness timeout.",
        "A slow download or disk, or a model that takes longer on this hardware.",
        "See the log for what it was doing; raise `readinessTimeout` in a preset of your own.",
    ),
    Reason.CRASH_LOOP: Explanation(
        "The server keeps ending.",
        "The message has its exit code and its last words.",
        "`berth logs NAME --previous` (or `kubectl logs POD --previous`) has the rest.",
    ),
    Reason.PEER_LOST: Explanation(
        "Another node of those that hold the model together ended or cannot be reached. vLLM ended on all of them and "
        "starts anew.",
        "A pod of the group was replaced or put out, its node went down, or the network between them broke.",
        "Wait. If it comes back: `berth explain NAME` shows each pod, and `berth logs NAME -c vllm` which went first.",
    ),
    Reason.NOT_READY: Explanation(
        "A pod that served no longer answers its readiness probe.",
        "It is shutting down, or too busy to answer.",
        "`berth logs NAME`; if it is busy, raise `resource.count`.",
    ),
    Reason.DEPLOYING: Explanation("Pods are being created.", "The Workspace is new or was changed.", "Wait."),
    Reason.STARTING: Explanation(
        "A pod has its node and its model is on the way.",
        "The image is pulled, the weights are downloaded or loaded, or a first token is produced.",
        _WAIT,
    ),
    Reason.ROLLING_OUT: Explanation(
        "Pods are being replaced after an edit; the old ones serve meanwhile.",
        "The Workspace was changed.",
        _WAIT,
    ),
    Reason.STOPPED: Explanation(
        "Nothing is meant to run.",
        "`resource.count` is 0, or an autoscaler has scaled to zero.",
        "Set it to 1 or more.",
    ),
}
