"""LoRA adapters: merged they give the tokens of a model merged by hand, and one that cannot be merged says why."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from fastapi.testclient import TestClient

from berth_inference.adapters import Adapter, parse_adapter
from berth_inference.app import create_app
from berth_inference.engine.batch.fusion import fuse
from berth_inference.engine.batch.rope import RopeRegimes
from berth_inference.errors import LoadError, LoadFailure
from berth_inference.loading import load_engine
from berth_inference.merging import merge_adapters
from berth_inference.models import built_in_models
from berth_inference.progress import LoadProgress
from berth_inference.settings import Settings, SettingsError, parse_settings
from server.conftest import ServerFactory, wait_until_ready
from server.lora import merge_by_hand, save_random_adapter, training
from server.model_zoo import make_model

pytestmark = pytest.mark.thorough

BASE = built_in_models()["tiny-chat"]
QUESTIONS = ("Who are you?", "What is Kubernetes?", "What is a pod?")


@dataclass(frozen=True)
class Trained:
    """Two adapters of tiny-chat, and what each was taught to answer."""

    harbour: Path
    containers: Path
    harbour_answer: str
    containers_answer: str = "It is a harbour for containers."


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    script, folder = training(), tmp_path_factory.mktemp("adapters")
    made = Trained(folder / "harbour", folder / "containers", script.ANSWER)
    assert script.train(made.harbour) < 0.01
    assert script.train(made.containers, "What is Kubernetes?", made.containers_answer) < 0.01
    return made


def tiny_chat(*merged: tuple[Path, float]) -> Any:
    """tiny-chat in float32, with adapters merged by hand."""
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(BASE, dtype="float32").eval()
    for folder, strength in merged:
        merge_by_hand(model, folder, strength)
    return model


def greedy(model: Any, question: str) -> str:
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(BASE)
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": question}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    output = model.generate(**prompt, max_new_tokens=40, do_sample=False)
    return str(tokenizer.decode(output[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True))


def served(question: str, *adapters: Adapter) -> str:
    settings = Settings(model="tiny-chat", dtype="float32", device="cpu", adapter=adapters)
    with TestClient(create_app(settings, load_engine)) as client:
        wait_until_ready(client)
        return answer(client, question)


def answer(client: Any, question: str) -> str:
    body = {"messages": [{"role": "user", "content": question}], "temperature": 0, "max_tokens": 40}
    return str(client.post("/v1/chat/completions", json=body).json()["choices"][0]["message"]["content"])


CASES = {
    "one": [("harbour", 1.0)],
    "one at half its strength": [("harbour", 0.5)],
    "one at little": [("harbour", 0.2)],
    "two": [("harbour", 1.0), ("containers", 1.0)],
    "two at half their strength": [("harbour", 0.5), ("containers", 0.5)],
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_answers_are_those_of_a_model_that_was_merged_by_hand(
    trained: Trained, case: list[tuple[str, float]]
) -> None:
    chosen = [(getattr(trained, name), strength) for name, strength in case]
    reference = tiny_chat(*chosen)
    adapters = [Adapter(folder.name, folder, strength) for folder, strength in chosen]
    settings = Settings(model="tiny-chat", dtype="float32", device="cpu", adapter=tuple(adapters))
    with TestClient(create_app(settings, load_engine)) as client:
        wait_until_ready(client)
        for question in QUESTIONS:
            assert answer(client, question) == greedy(reference, question)


def test_an_adapter_teaches_its_answer_and_leaves_the_others(trained: Trained) -> None:
    harbour = Adapter("harbour", trained.harbour)
    assert served(QUESTIONS[0], harbour) == trained.harbour_answer
    assert served(QUESTIONS[1], harbour) == greedy(tiny_chat(), QUESTIONS[1])


def test_two_adapters_add_up(trained: Trained) -> None:
    both = [Adapter("harbour", trained.harbour, 0.5), Adapter("containers", trained.containers, 0.5)]
    assert served(QUESTIONS[1], *both) == trained.containers_answer
    assert served(QUESTIONS[0], *both) != served(QUESTIONS[0], both[1])


def test_the_strength_counts(trained: Trained) -> None:
    plain = greedy(tiny_chat(), QUESTIONS[0])
    assert served(QUESTIONS[0], Adapter("a", trained.harbour, 0.2)) == plain
    assert served(QUESTIONS[0], Adapter("a", trained.harbour)) != plain
    ids = torch.tensor([[7, 8, 9]])
    logits = [
        merge_adapters(tiny_chat(), [Adapter("a", trained.harbour, strength)], "tiny-chat")(ids).logits
        for strength in (0.0, 0.5, 1.0)
    ]
    torch.testing.assert_close(logits[0], tiny_chat()(ids).logits)
    assert (logits[1] - logits[2]).abs().max() > 0.1


# What a configuration can hold, by the layers' names of the zoo's llama.
KINDS: dict[str, dict[str, Any]] = {
    "every linear layer": {"target_modules": "all-linear"},
    "a rank of its own for some": {
        "target_modules": ["q_proj", "v_proj"],
        "rank_pattern": {"q_proj": 4},
        "alpha_pattern": {"v_proj": 1},
    },
    "scaled by the root of the rank": {"target_modules": ["o_proj"], "use_rslora": True},
    "some layers alone": {"target_modules": ["q_proj"], "layers_to_transform": [1]},
    "the output layer": {"target_modules": ["lm_head"]},
    "the embeddings": {"target_modules": ["embed_tokens"]},
}
# What replaces values of the model.
WHOLE: dict[str, dict[str, Any]] = {
    "dora": {"target_modules": ["q_proj", "down_proj"], "use_dora": True},
    "a whole layer": {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]},
    "some tokens": {"target_modules": ["q_proj"], "trainable_token_indices": [5, 6]},
    "biases": {"target_modules": ["q_proj"], "bias": "lora_only"},
}
IDS = torch.arange(3, 40)[None]


def llama(dtype: str = "float32") -> Any:
    return make_model("llama", dtype, attention_bias=True)


@pytest.mark.parametrize("kind", (KINDS | WHOLE).values(), ids=KINDS | WHOLE)
def test_every_kind_of_adapter_gives_what_peft_gives_without_merging(
    kind: dict[str, Any], tmp_path: Path
) -> None:
    unmerged = save_random_adapter(tmp_path, llama(), **kind)
    merged = merge_adapters(llama(), [Adapter("a", tmp_path)], "llama")
    with torch.no_grad():
        plain, expected = llama()(IDS).logits, unmerged(IDS).logits
        torch.testing.assert_close(merged(IDS).logits, expected, atol=1e-4, rtol=1e-4)
    assert (plain - expected).abs().max() > 0.1


@pytest.mark.parametrize("architecture", ["llama", "phi3", "gemma2", "mistral-sliding"])
def test_a_merged_model_runs_through_the_library_s_own_layers_like_any(
    architecture: str, tmp_path: Path
) -> None:
    save_random_adapter(tmp_path / "a", make_model(architecture, "float32"), target_modules="all-linear")
    save_random_adapter(tmp_path / "b", make_model(architecture, "float32"), 1, target_modules="all-linear")
    adapters = [Adapter("a", tmp_path / "a", 0.5), Adapter("b", tmp_path / "b")]
    model = merge_adapters(make_model(architecture, "float32"), adapters, architecture)
    with torch.no_grad():
        before = model(IDS).logits
        assert fuse(model, RopeRegimes(model)) is None  # nothing keeps it from that
        torch.testing.assert_close(model(IDS).logits, before, atol=1e-4, rtol=1e-4)


def test_half_precision_stays_half_precision(tmp_path: Path) -> None:
    save_random_adapter(tmp_path, llama(), target_modules="all-linear")
    model = merge_adapters(llama("bfloat16"), [Adapter("a", tmp_path)], "llama")
    assert {values.dtype for values in model.parameters()} == {torch.bfloat16}


def set_in_config(**values: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "adapter_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return change


def remade(**config: Any) -> Callable[[Path], None]:
    """Another adapter in its place: a random one of tiny-chat."""
    return lambda folder: save_random_adapter(folder, tiny_chat(), **config) and None


def of_another_model(folder: Path) -> None:
    save_random_adapter(folder, make_model("phi3", "float32"), target_modules=["qkv_proj"])
    set_in_config(base_model_name_or_path="someone/else")(folder)


def not_finite(folder: Path) -> None:
    import safetensors.torch

    path = folder / "adapter_model.safetensors"
    values = safetensors.torch.load_file(path)
    safetensors.torch.save_file({name: value * float("nan") for name, value in values.items()}, path)


def pickled(folder: Path) -> None:
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "no folder": (shutil.rmtree, "no adapter_config.json among its files"),
    "no configuration": (lambda folder: (folder / "adapter_config.json").unlink(), "no adapter_config.json"),
    "no weights": (
        lambda folder: (folder / "adapter_model.safetensors").unlink(),
        "no adapter_model.safetensors",
    ),
    "a pickle": (pickled, "it has adapter_model.bin alone, which can run code"),
    "a configuration that is no JSON": (
        lambda folder: (folder / "adapter_config.json").write_text("{"),
        "adapter_config.json cannot be read",
    ),
    "a configuration that is a list": (
        lambda folder: (folder / "adapter_config.json").write_text("[]"),
        "is no JSON object",
    ),
    "weights that are none": (
        lambda folder: (folder / "adapter_model.safetensors").write_bytes(b"x" * 100),
        "adapter_model.safetensors cannot be read",
    ),
    "another method": (set_in_config(peft_type="IA3"), "it is of the kind 'IA3'"),
    "another rank": (set_in_config(r=3), "is 2 x 192 and would have to be 3 x 192"),
    "a rank that is none": (set_in_config(r="two"), "cannot be merged"),
    "another model": (
        of_another_model,
        "it does not fit tiny-chat (it was trained for someone/else): model.",
    ),
    "layers that are not there": (
        set_in_config(target_modules=["q_proj"]),
        "it does not fit tiny-chat (it was trained for tiny-chat): Target modules",
    ),
    "layers that the file has not": (
        set_in_config(target_modules=["qkv_proj", "o_proj", "down_proj"]),
        "is missing in its file",
    ),
    "layers that the configuration has not": (
        set_in_config(target_modules=["o_proj"]),
        "the model has no place for model.layers.0.self_attn.qkv_proj.lora_A.weight",
    ),
    "values that are not finite": (not_finite, "NaNs detected"),
    "what a newer peft may know": (set_in_config(use_telepathy=True), "not known here: use_telepathy"),
    "adapting from a word on": (set_in_config(alora_invocation_tokens=[1]), "(alora_invocation_tokens)"),
    "a changed base": (set_in_config(init_lora_weights="pissa_niter_4"), "convert it to plain LoRA"),
    "a module to import": (set_in_config(megatron_config={"a": 1}, megatron_core="os"), "(megatron_config)"),
    "embeddings that are shared": (
        remade(target_modules=["embed_tokens"]),
        "shares between its input and its output",
    ),
}


@pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`")
@pytest.mark.parametrize(("break_it", "why"), REFUSED.values(), ids=REFUSED)
def test_an_adapter_that_cannot_be_merged_says_why(
    trained: Trained, tmp_path: Path, break_it: Callable[[Path], object], why: str
) -> None:
    folder = tmp_path / "mine"
    shutil.copytree(trained.harbour, folder)
    break_it(folder)
    with pytest.raises(LoadError) as refused:
        merge_adapters(tiny_chat(), [Adapter("mine", folder)], "tiny-chat")
    assert refused.value.reason is LoadFailure.INVALID_ADAPTER
    assert str(refused.value).startswith('adapter "mine" cannot be merged: ')
    assert why in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("beside", ["at half its strength", "beside another"])
@pytest.mark.parametrize("kind", WHOLE.values(), ids=WHOLE)
def test_what_replaces_values_is_merged_alone_and_whole_only(
    kind: dict[str, Any], beside: str, tmp_path: Path
) -> None:
    save_random_adapter(tmp_path, llama(), **kind)
    adapters = [Adapter("a", tmp_path, 0.5)] if "half" in beside else [Adapter(n, tmp_path) for n in "ab"]
    with pytest.raises(LoadError, match=r'use it alone and with strength "1\.0"'):
        merge_adapters(llama(), adapters, "llama")


def test_what_is_off_in_a_newer_peft_s_configuration_is_as_good_as_not_there(
    trained: Trained, tmp_path: Path
) -> None:
    shutil.copytree(trained.harbour, tmp_path / "a")
    set_in_config(use_telepathy=False, telepathy_config=None)(tmp_path / "a")
    assert merge_adapters(tiny_chat(), [Adapter("a", tmp_path / "a")], "tiny-chat")


@pytest.mark.parametrize(
    ("trained_for", "warns"),
    [
        ("someone/tiny-chit", True),
        ("someone/tiny-chat", False),
        ("/workspace/tfs/weights", False),
        (None, False),
    ],
)
def test_an_adapter_of_a_model_of_another_name_is_merged_with_a_warning(
    trained: Trained, tmp_path: Path, caplog: pytest.LogCaptureFixture, trained_for: str | None, warns: bool
) -> None:
    shutil.copytree(trained.harbour, tmp_path / "a")
    set_in_config(base_model_name_or_path=trained_for)(tmp_path / "a")
    merge_adapters(tiny_chat(), [Adapter("a", tmp_path / "a")], "tiny-chat")
    assert (f'adapter "a" was trained for {trained_for}, not for tiny-chat' in caplog.text) is warns


def test_nothing_is_downloaded_for_the_sake_of_an_adapter_that_is_not_there(tmp_path: Path) -> None:
    progress = LoadProgress()
    missing = Adapter("a", tmp_path / "none")
    with pytest.raises(LoadError, match='adapter "a"'):
        load_engine(Settings(model="owner/not-on-this-machine", adapter=(missing,)), progress)
    assert progress.report()["phase"] == "resolving"


def test_the_server_lists_its_adapters(trained: Trained, start_server: ServerFactory) -> None:
    import httpx2

    flags = ("--adapter", f"harbour={trained.harbour}", "--adapter", f"containers:0.5={trained.containers}")
    server = start_server("--model", "tiny-chat", "--device", "cpu", *flags)
    with httpx2.Client(base_url=server.url) as http:
        wait_until_ready(http)
        [card] = http.get("/v1/models").json()["data"]
    assert card["adapters"] == [
        {"name": "harbour", "strength": 1.0},
        {"name": "containers", "strength": 0.5},
    ]
    assert "ready: tiny-chat with adapters harbour, containers (0.5)" in server.log


def test_a_server_whose_adapter_is_missing_ends_and_says_so(
    tmp_path: Path, start_server: ServerFactory
) -> None:
    server = start_server("--model", "tiny-chat", "--device", "cpu", "--adapter", f"mine={tmp_path}")
    assert server.wait() == 1
    assert server.lines[-1].startswith('berth_inference: error: adapter "mine" cannot be merged: there is no')


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=/x", Adapter("a", Path("/x"))),
        ("a-1:0.25=/x", Adapter("a-1", Path("/x"), 0.25)),
        ("a:1=/x=y:z", Adapter("a", Path("/x=y:z"))),
        ("a:.5=x", Adapter("a", Path("x"), 0.5)),
    ],
)
def test_an_adapter_is_read_from_a_flag(text: str, expected: Adapter) -> None:
    assert parse_adapter(text) == expected


@pytest.mark.parametrize(
    ("arguments", "environment", "why"),
    [
        (["--adapter", "/x"], {}, "'/x' is not NAME=FOLDER"),
        (["--adapter", "A=/x"], {}, "lower-case letters"),
        (["--adapter", "a="], {}, "is not NAME=FOLDER"),
        (["--adapter", "a:2=/x"], {}, "'2', the strength of a, is not between 0 and 1"),
        (["--adapter", "a:nan=/x"], {}, "'nan', the strength of a"),
        (["--adapter", "a:much=/x"], {}, "'much', the strength of a"),
        (["--adapter", "a=/x", "--adapter", "a=/y"], {}, "two adapters are named a"),
        ([], {"BERTH_ADAPTER": "a=/x,b"}, "BERTH_ADAPTER: 'b' is not NAME=FOLDER"),
    ],
)
def test_an_adapter_that_cannot_be_meant_is_refused(
    arguments: list[str], environment: dict[str, str], why: str
) -> None:
    with pytest.raises(SettingsError) as refused:
        parse_settings(["serve", "--model", "m", *arguments], environment)
    assert why in str(refused.value)


def test_the_environment_names_several_adapters_with_commas_between() -> None:
    parsed = parse_settings(["serve", "--model", "m"], {"BERTH_ADAPTER": "a=/x, b:0.5=/y"})
    assert parsed.adapter == (Adapter("a", Path("/x")), Adapter("b", Path("/y"), 0.5))
