"""The runtime vllm: the two containers that a Workspace becomes, what vLLM is told, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from berth_inference.settings import FRONT_OPTIONS, parse_command
from berth_operator.api.workspace import parse_workspace
from berth_operator.plan import setting_rules, vllm_settings
from berth_operator.plan.metadata import ANNOTATION_RENDERED
from berth_operator.plan.nodes import requested
from berth_operator.plan.observed import Observed
from berth_operator.plan.questions import asks_for_health
from berth_operator.plan.reasons import Finding, Reason
from berth_operator.plan.server_config import ConfigMapData
from berth_operator.plan.status import progress
from berth_operator.plan.workload import Workload, plan_workload
from berth_operator.presets import Preset, PresetCatalogue, load_presets
from berth_operator.settings import Settings
from chart.pod_security import restricted_violations
from unit.cluster_objects import node, observed, pod, runs, waits

CATALOGUE = load_presets()
MINI = "phi-3-mini-4k-instruct"
REVISION = CATALOGUE[MINI].model.revision
VLLM = {"kaito.sh/runtime": "vllm"}
PAGE = Path(__file__).parents[2] / "docs" / "vllm.md"

LARGE = CATALOGUE[MINI].model_dump(mode="json", by_alias=True) | {
    "name": "on-four",
    "resources": {"gpu": 4, "gpuMemory": "24Gi", "cpu": "4", "memory": "24Gi", "disk": "40Gi"},
    "vllm": {"args": ["--quantization", "fp8"], "maxModelLen": 2048},
}
WITH_LARGE = PresetCatalogue({**CATALOGUE, "on-four": Preset.model_validate(LARGE)})


def plan(
    preset: str | dict[str, Any] = MINI,
    config: str | None = None,
    *,
    nodes: tuple[dict[str, Any], ...] | None = None,
    settings: Settings | None = None,
    resource: dict[str, Any] | None = None,
    annotations: dict[str, str] | None = None,
    **inference: Any,
) -> Workload | Finding:
    named = {"name": preset} if isinstance(preset, str) else preset
    body = inference if "template" in inference else {"preset": named, **inference}
    if config is not None:
        body["config"] = "cm"
    raw = {
        "metadata": {
            "name": "ws",
            "namespace": "team",
            "uid": "uid-1",
            "annotations": VLLM if annotations is None else annotations,
        },
        "resource": resource or {},
        "inference": body,
    }
    data = None if config is None else ConfigMapData("cm", {"inference_config.yaml": config})
    seen = Observed(nodes=nodes)
    return plan_workload(parse_workspace(raw), WITH_LARGE, settings or Settings(), data, seen)


def planned(*arguments: Any, **options: Any) -> Workload:
    found = plan(*arguments, **options)
    assert isinstance(found, Workload), found
    return found


def pod_spec(*arguments: Any, **options: Any) -> dict[str, Any]:
    spec: dict[str, Any] = planned(*arguments, **options).deployment["spec"]["template"]["spec"]
    return spec


def containers(*arguments: Any, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The front, and vLLM."""
    spec = pod_spec(*arguments, **options)
    (front,) = spec["containers"]
    (vllm,) = [one for one in spec["initContainers"] if one["name"] == "vllm"]
    return front, vllm


def told(*arguments: Any, **options: Any) -> list[str]:
    """What vLLM is told."""
    found: list[str] = containers(*arguments, **options)[1]["args"]
    return found


def value_of(flag: str, arguments: list[str]) -> str:
    """The value that counts: the last."""
    return arguments[len(arguments) - arguments[::-1].index(flag)]


def refused(*arguments: Any, **options: Any) -> Finding:
    found = plan(*arguments, **options)
    assert isinstance(found, Finding), "was planned"
    return found


def test_vllm_is_told_the_model_its_names_and_what_its_memory_was_counted_for() -> None:
    assert told() == [
        *("microsoft/Phi-3-mini-4k-instruct", "--revision", REVISION, "--tokenizer-revision", REVISION),
        *("--served-model-name", MINI, "ws", "microsoft/Phi-3-mini-4k-instruct"),
        *("--host", "127.0.0.1", "--port", "8000", "--load-format", "safetensors", "--dtype", "bfloat16"),
        *("--tensor-parallel-size", "1"),
        *("--max-model-len", "4096", "--gpu-memory-utilization", "0.9", "--generation-config", "vllm"),
        "--disable-uvicorn-access-log",
    ]


def test_the_front_stands_where_the_server_does_without_its_gpus() -> None:
    front, _ = containers()
    server = pod_spec(annotations={})["containers"][0]
    same = ("name", "ports", "startupProbe", "readinessProbe", "livenessProbe", "securityContext")
    assert {key: front[key] for key in same} == {key: server[key] for key in same}
    assert front["command"] == ["python", "-m", "berth_inference", "front"]
    assert front["args"] == [
        *("--upstream", "http://127.0.0.1:8000", "--tokenizer", "microsoft/Phi-3-mini-4k-instruct"),
        *(
            "--model",
            "microsoft/Phi-3-mini-4k-instruct",
            "--revision",
            REVISION,
            "--served-model-name",
            MINI,
            "--served-model-name",
            "ws",
            "--port",
            "5000",
        ),
    ]
    assert front["image"].endswith("-cpu")
    assert front["env"] == server["env"]
    assert "nvidia.com/gpu" not in str(front["resources"])


def test_the_front_takes_what_it_is_told_under_a_name_that_vllm_serves() -> None:
    config = "front: {max_output_tokens: 9000, log_prompts: true, served_model_name: [mine]}"
    front, vllm = containers(config=config, annotations={**VLLM, "berth.dev/api-key-secret": "keys"})
    command, settings = parse_command([*front["command"][3:], *front["args"]], {})
    assert command == "front"
    assert (settings.port, settings.max_output_tokens, settings.log_prompts) == (5000, 9000, True)
    assert settings.names == (MINI, "ws", "mine", "microsoft/Phi-3-mini-4k-instruct")
    assert settings.model in vllm["args"]
    assert settings.upstream == "http://127.0.0.1:8000"
    assert settings.api_key_file == "/etc/berth/api-keys"


def test_a_config_map_may_hold_every_setting_of_the_front_that_is_not_berth_s() -> None:
    own = {"upstream", "tokenizer", *setting_rules.RESERVED}
    assert set(FRONT_OPTIONS) - own == setting_rules.FRONT_SETTINGS


def test_vllm_starts_before_the_front_and_ends_after_it() -> None:
    spec = pod_spec()
    # A sidecar: the others start once its startup probe has passed, and it is told to end once they have ended.
    assert [one["name"] for one in spec["initContainers"]] == ["fetch-weights", "vllm"]
    vllm = spec["initContainers"][-1]
    assert vllm["restartPolicy"] == "Always"
    limit = vllm["startupProbe"]["periodSeconds"] * vllm["startupProbe"]["failureThreshold"]
    assert limit >= CATALOGUE[MINI].readiness_seconds
    plain = pod_spec(annotations={})
    assert spec["terminationGracePeriodSeconds"] > plain["terminationGracePeriodSeconds"]


def test_vllm_is_asked_on_its_loopback_whatever_the_environment() -> None:
    _, vllm = containers()
    for probe in (vllm["startupProbe"], vllm["livenessProbe"]):
        *program, code = probe["exec"]["command"]
        assert program == ["python3", "-I", "-S", "-c"]
        compile(code, "probe", "exec")
        assert "127.0.0.1" in code
        assert "/health" in code
    assert "ports" not in vllm


def test_while_vllm_loads_the_pod_is_loading_and_its_front_is_asked_once_it_runs() -> None:
    sidecar = {"name": "vllm", "restartPolicy": "Always"}
    for started in (False, True):
        vllm = {**runs(started=started, ready=started), "name": "vllm"}
        front = runs() if started else waits("PodInitializing")
        loading = pod(
            spec={"initContainers": [sidecar]}, initContainerStatuses=[vllm], containerStatuses=[front]
        )
        assert progress(observed(loading)) == {"phase": "Loading"}
        assert asks_for_health(loading) is started


def test_vllm_gets_the_gpus_and_the_front_gets_none() -> None:
    spec = pod_spec("on-four")
    (vllm,) = [one for one in spec["initContainers"] if one["name"] == "vllm"]
    assert vllm["resources"]["limits"] == {"nvidia.com/gpu": "4"}
    assert value_of("--tensor-parallel-size", vllm["args"]) == "4"
    assert requested(spec, "nvidia.com/gpu") == 4
    assert {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"} in spec["tolerations"]


def test_vllm_reads_what_was_fetched_and_writes_only_to_its_own_folders() -> None:
    spec = pod_spec()
    front, vllm = containers()
    mounts = {mount["mountPath"]: mount for mount in vllm["volumeMounts"]}
    assert mounts["/var/cache/berth"]["readOnly"] is True
    assert {volume["name"] for volume in spec["volumes"]} == {"weights", "tmp", "dshm", "vllm-tmp"}
    assert mounts["/tmp"]["name"] == "vllm-tmp"
    assert mounts["/dev/shm"]["name"] == "dshm"
    assert {mount["name"] for mount in front["volumeMounts"]} == {"weights", "tmp"}
    environment = {item["name"]: item["value"] for item in vllm["env"]}
    assert environment["HF_HOME"] == "/var/cache/berth"
    assert environment["HF_HUB_OFFLINE"] == environment["VLLM_NO_USAGE_STATS"] == "1"
    assert environment["HOME"] == "/tmp"


def test_nothing_of_the_pod_may_do_more_than_a_restricted_pod() -> None:
    template = planned().deployment["spec"]["template"]
    assert restricted_violations(template["spec"]) == []
    _, vllm = containers()
    assert vllm["securityContext"]["readOnlyRootFilesystem"] is True
    assert vllm["securityContext"]["runAsUser"] == 65532
    assert vllm["terminationMessagePolicy"] == "FallbackToLogsOnError"


def test_the_token_of_a_gated_model_reaches_only_what_downloads() -> None:
    spec = pod_spec(
        {"name": "llama-3.1-8b-instruct", "presetOptions": {"modelAccessSecret": "hub"}},
    )
    fetch, vllm = spec["initContainers"]
    assert "hub" in str(fetch["env"])
    assert "secretKeyRef" not in str([vllm, spec["containers"]])


def test_keys_are_asked_for_by_the_front() -> None:
    front, vllm = containers(annotations={**VLLM, "berth.dev/api-key-secret": "keys"})
    assert "--api-key-file" in front["args"]
    assert "api-keys" in {mount["name"] for mount in front["volumeMounts"]}
    assert "api-keys" not in {mount["name"] for mount in vllm["volumeMounts"]}


def test_the_operator_says_which_image_vllm_runs() -> None:
    _, vllm = containers(settings=Settings(vllm_image="mirror.example/vllm@sha256:1"))
    assert vllm["image"] == "mirror.example/vllm@sha256:1"
    assert containers()[1]["image"].startswith("docker.io/vllm/vllm-openai:v")


@pytest.mark.parametrize("name", [name for name, one in CATALOGUE.items() if one.vllm is not None])
def test_every_preset_that_vllm_serves_is_started_for_a_context_that_fits_beside_it(name: str) -> None:
    preset = CATALOGUE[name]
    arguments = told({"name": name, "presetOptions": {"modelAccessSecret": "hub"}})
    tokens = int(value_of("--max-model-len", arguments))
    assert tokens == min(8192, preset.model.context_length)
    assert value_of("--dtype", arguments) == preset.model.dtype


def test_every_gpu_preset_is_one_that_vllm_serves() -> None:
    assert {name for name, one in CATALOGUE.items() if one.vllm is None} == {"tiny-chat"}


@pytest.mark.parametrize(
    ("config", "flag", "value"),
    [
        pytest.param("max-model-len: 2048", "--max-model-len", "2048", id="less context"),
        pytest.param('max_model_len: "2048"', "--max-model-len", "2048", id="as a field, in quotes"),
        pytest.param(
            "gpu-memory-utilization: 0.8", "--gpu-memory-utilization", "0.8", id="less of the memory"
        ),
        pytest.param("max-num-seqs: 8", "--max-num-seqs", "8", id="fewer sequences"),
        pytest.param("kv-cache-dtype: fp8", "--kv-cache-dtype", "fp8", id="a choice"),
        pytest.param("cpu-offload-gb: 4", "--cpu-offload-gb", "4", id="a number"),
    ],
)
def test_settings_of_the_config_map_become_vllm_s_flags(config: str, flag: str, value: str) -> None:
    assert value_of(flag, told(config=f"vllm:\n  {config}\n")) == value


@pytest.mark.parametrize(("written", "flag"), [("true", "--enforce-eager"), ("false", "--no-enforce-eager")])
def test_a_truth_is_a_flag_without_a_value(written: str, flag: str) -> None:
    assert told(config=f"vllm:\n  enforce-eager: {written}\n")[-1] == flag


def test_a_preset_s_own_arguments_come_before_those_of_the_config_map() -> None:
    assert value_of("--quantization", told("on-four")) == "fp8"
    both = told("on-four", "vllm:\n  quantization: bitsandbytes\n")
    assert value_of("--quantization", both) == "bitsandbytes"
    assert value_of("--max-model-len", told("on-four")) == "2048"


def test_the_front_has_a_section_of_its_own() -> None:
    config = (
        "front: {max-output-tokens: 9000, log_prompts: true, drain_seconds: 120}\nvllm: {max-num-seqs: 8}\n"
    )
    front, vllm = containers(config=config)
    assert front["args"][-6:] == [
        *("--drain-seconds", "120", "--log-prompts", "true", "--max-output-tokens", "9000"),
    ]
    assert {"name": "BERTH_DRAIN_SECONDS", "value": "120"} in front["env"]
    assert pod_spec(config=config)["terminationGracePeriodSeconds"] > 120
    assert vllm["args"][-2:] == ["--max-num-seqs", "8"]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        pytest.param("front: {max_output_token: 1}", "did you mean max_output_tokens?", id="a slip"),
        pytest.param("front: {step_tokens: 1}", "vLLM runs the model", id="a setting of the other server"),
        pytest.param("front: {port: 80}", "front.port: is Berth's to set", id="a setting that Berth makes"),
        pytest.param("front: [1]", "front: must hold settings", id="a list"),
        pytest.param("fronts: {}", "did you mean front?", id="a slip in the section"),
    ],
)
def test_what_the_front_would_not_take_is_refused_with_the_key_s_name(config: str, words: str) -> None:
    found = refused(config=config)
    assert found.reason is Reason.INVALID_CONFIG
    assert words in found.message


def test_the_other_runtime_s_section_means_nothing_here() -> None:
    config = "transformers: {max_output_tokens: 7}\nvllm: {max-num-seqs: 8}\n"
    assert planned(config=config).deployment == planned(config="vllm: {max-num-seqs: 8}").deployment


@pytest.mark.parametrize("name", sorted(vllm_settings.RESERVED))
def test_a_setting_that_is_berth_s_to_make_is_refused_with_what_to_use_instead(name: str) -> None:
    found = refused(config=f"vllm:\n  {name.replace('_', '-')}: x\n")
    assert found.reason is Reason.INVALID_CONFIG
    assert (
        f"vllm.{name.replace('_', '-')}: is Berth's to set: {vllm_settings.RESERVED[name]}" in found.message
    )


@pytest.mark.parametrize(
    ("config", "words"),
    [
        pytest.param("max-model-length: 1", "did you mean max_model_len?", id="a slip"),
        pytest.param("zzz: 1", "vllm.zzz: is no setting of vLLM's that Berth knows", id="an unknown one"),
        pytest.param("max-model-len: auto", '"auto" is not a whole number', id="no number"),
        pytest.param("gpu-memory-utilization: 90", "is not between 0.1 and 1", id="a percentage"),
        pytest.param("kv-cache-dtype: int4", '"int4" is not one of auto, fp8', id="no choice"),
        pytest.param("enforce-eager: 1", "1 is not true or false", id="neither true nor false"),
        pytest.param("enforce-eager: [true]", "is not true or false", id="a list"),
        pytest.param("max-model-len: {a: 1}", "is not a whole number", id="a mapping"),
        pytest.param(
            "max-model-len: 8192", "the context of phi-3-mini-4k-instruct, 4096 tokens", id="too long"
        ),
    ],
)
def test_a_setting_that_vllm_would_not_take_is_refused_with_the_key_s_name(config: str, words: str) -> None:
    found = refused(config=f"vllm:\n  {config}\n")
    assert found.reason is Reason.INVALID_CONFIG
    assert words in found.message
    assert 'ConfigMap "cm"' in found.message
    assert found.terminal


@pytest.mark.parametrize(
    ("options", "words"),
    [
        pytest.param(
            {"preset": "tiny-chat"},
            "preset tiny-chat is not one that vllm serves; use transformers, or one of these presets: gemma",
            id="a preset that it does not serve",
        ),
        pytest.param(
            {"annotations": {**VLLM, "berth.dev/accelerator": "cpu"}},
            "remove the annotation berth.dev/accelerator",
            id="on the CPU",
        ),
        pytest.param(
            {"adapters": [{"source": {"name": "a", "image": "example.com/a:1"}}]},
            "vllm takes no inference.adapters",
            id="adapters",
        ),
        pytest.param(
            {"preset": {"name": MINI, "accessMode": "private", "presetOptions": {"image": "x.example/y:1"}}},
            "use accessMode public, or transformers",
            id="an image of the user's own",
        ),
        pytest.param(
            {"template": {"spec": {"containers": [{"name": "mine", "image": "x"}]}}},
            "the server of inference.template is the template's own to choose",
            id="a template",
        ),
        pytest.param(
            {"annotations": {"kaito.sh/runtime": "vLLM"}}, "use transformers or vllm", id="no runtime"
        ),
        pytest.param(
            {"annotations": {"kaito.sh/runtime": ""}}, "use transformers or vllm", id="an empty name"
        ),
    ],
)
def test_what_vllm_cannot_do_is_refused_with_the_way_out(options: dict[str, Any], words: str) -> None:
    found = refused(**options)
    assert found.reason is Reason.NOT_SUPPORTED
    assert found.message.startswith("annotation kaito.sh/runtime: ")
    assert words in found.message
    assert found.terminal


def gpu(mebibytes: int, count: int = 1) -> dict[str, Any]:
    return node(
        labels={"nvidia.com/gpu.memory": str(mebibytes), "nvidia.com/gpu.count": str(count)}, gpus=count
    )


# phi-3-mini: 7.1 GiB of weights and 1.5 GiB of cache at 4096 tokens, with the overhead 10.5 GiB.
@pytest.mark.parametrize(
    ("mebibytes", "config", "fits"),
    [
        pytest.param(12 * 1024, None, True, id="in nine tenths"),
        pytest.param(11 * 1024, None, False, id="in the whole, and not in nine tenths"),
        pytest.param(11 * 1024, "vllm: {gpu-memory-utilization: 0.98}", True, id="in a larger share"),
        pytest.param(11 * 1024, "vllm: {max-model-len: 1024}", True, id="with less context"),
    ],
)
def test_it_fits_if_one_whole_conversation_fits_into_the_share_that_vllm_takes(
    mebibytes: int, config: str | None, fits: bool
) -> None:
    found = plan(config=config, nodes=(gpu(mebibytes),))
    assert isinstance(found, Workload) is fits
    if isinstance(found, Finding):
        assert found.reason is Reason.DOES_NOT_FIT
        assert "1.5 GiB KV cache at 4096 tokens" in found.message
        assert "within 90 % of the memory on 1 GPU of one node" in found.message
        assert "lower max-model-len" in found.message


def test_the_gpus_of_one_machine_count_together() -> None:
    assert planned("on-four", nodes=(gpu(4 * 1024, 4),)).fit is not None
    assert refused("on-four", nodes=(gpu(80 * 1024, 2),)).reason is Reason.DOES_NOT_FIT


def test_a_change_of_the_runtime_is_a_rollout_and_the_change_back_undoes_it() -> None:
    def rendered(annotations: dict[str, str]) -> str:
        found: str = planned(annotations=annotations).deployment["metadata"]["annotations"][
            ANNOTATION_RENDERED
        ]
        return found

    assert rendered({}) == rendered({"kaito.sh/runtime": "transformers"}) != rendered(VLLM)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(
            {"resources": {**LARGE["resources"], "gpu": 3}}, "32 heads evenly over 3 GPUs", id="heads"
        ),
        pytest.param({"vllm": {"maxModelLen": 8192}}, "above model.contextLength, 4096", id="context"),
        pytest.param({"model": {**LARGE["model"], "id": "local"}}, "a model of the hub", id="no hub"),
        pytest.param(
            {"resources": {"gpu": 0, "cpu": "1", "memory": "1Gi", "disk": "1Gi"}}, "needs a GPU", id="no GPU"
        ),
    ],
)
def test_a_preset_that_vllm_could_not_serve_is_refused_when_it_is_read(
    change: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        Preset.model_validate(LARGE | change)


def test_the_page_has_every_setting() -> None:
    page = PAGE.read_text()
    assert not set(vllm_settings.SETTINGS) & set(vllm_settings.RESERVED)
    assert [name for name in vllm_settings.SETTINGS if f"`{name.replace('_', '-')}`" not in page] == []


def test_an_operator_of_the_next_release_renders_the_same_pods() -> None:
    settings = Settings(image_tag="1", vllm_image="example.com/vllm:1")
    meta = planned(settings=settings).deployment["metadata"]
    assert meta["annotations"][ANNOTATION_RENDERED] == "443f90b1d2068df8"
