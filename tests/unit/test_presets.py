"""The shipped presets are true to their models."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from berth_operator.presets import Preset, load_presets
from berth_operator.quantity import GIB, bytes_of, parse_quantity
from berth_operator.sizing import kv_bytes_per_token, required_disk, required_host_memory, weights_bytes

REPOSITORY = Path(__file__).resolve().parents[2]
DIRECTORY = REPOSITORY / "presets"
TINY_CHAT = REPOSITORY / "inference/berth_inference/models/tiny-chat/config.json"

CATALOGUE = load_presets(DIRECTORY)
every_preset = pytest.mark.parametrize("preset", CATALOGUE.values(), ids=list(CATALOGUE))
every_gpu_preset = pytest.mark.parametrize(
    "preset",
    [p for p in CATALOGUE.values() if p.needs_gpu],
    ids=[p.name for p in CATALOGUE.values() if p.needs_gpu],
)

# Parameters as the hub counts them from the weights' headers, bytes of weights (GiB, two decimals) and bytes of
# cache for one token, as published elsewhere: figures that the files must arrive at from the models' shapes.
PUBLISHED = {
    "gemma-2-9b-it": (9_241_705_984, 17.21, 344_064),
    "llama-3-8b-instruct": (8_030_261_248, 14.96, 131_072),
    "llama-3.1-8b-instruct": (8_030_261_248, 14.96, 131_072),
    "mistral-7b": (7_241_732_096, 13.49, 131_072),
    "mistral-7b-instruct": (7_241_732_096, 13.49, 131_072),
    "phi-3-medium-128k-instruct": (13_960_238_080, 26.00, 204_800),
    "phi-3-medium-4k-instruct": (13_960_238_080, 26.00, 204_800),
    "phi-3-mini-128k-instruct": (3_821_079_552, 7.12, 393_216),
    "phi-3-mini-4k-instruct": (3_821_079_552, 7.12, 393_216),
    "tinyllama-1.1b-chat": (1_100_048_384, 2.05, 22_528),
}


def test_the_eleven_presets_are_there() -> None:
    assert set(CATALOGUE) == {*PUBLISHED, "tiny-chat"}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_preset_s_figures_are_the_published_ones(name: str) -> None:
    model = CATALOGUE[name].model
    parameters, weights, cache = PUBLISHED[name]
    assert model.parameters == parameters
    assert round(weights_bytes(model.parameters, model.dtype) / GIB, 2) == weights
    assert kv_bytes_per_token(model.layers, model.kv_heads, model.head_size, model.dtype) == cache


@every_preset
def test_parameters_follow_from_the_shape_matrix_by_matrix(preset: Preset) -> None:
    model, shape = preset.model, preset.model.dimensions
    assert shape is not None
    width = shape.hidden_size
    layer = [
        width * shape.heads * model.head_size,  # queries
        width * model.kv_heads * model.head_size,  # keys
        width * model.kv_heads * model.head_size,  # values
        shape.heads * model.head_size * width,  # attention's output
        width * shape.intermediate_size,  # gate
        width * shape.intermediate_size,  # up
        shape.intermediate_size * width,  # down
        *[width] * shape.norms_per_layer,
    ]
    embedding = shape.vocab_size * width
    head = 0 if shape.tied_embeddings else embedding
    assert model.parameters == embedding + model.layers * sum(layer) + width + head


@every_preset
def test_queries_share_keys_and_values_evenly(preset: Preset) -> None:
    assert preset.model.dimensions is not None
    assert preset.model.dimensions.heads % preset.model.kv_heads == 0


@every_gpu_preset
def test_gpu_memory_is_the_computed_need_in_whole_gibibytes(preset: Preset) -> None:
    need = preset.memory_need().total
    assert need <= bytes_of(preset.resources.gpu_memory) < need + GIB


@every_preset
def test_memory_is_the_computed_need_and_little_more(preset: Preset) -> None:
    need = required_host_memory(preset.model, preset.needs_gpu)
    assert need <= bytes_of(preset.resources.memory) < need + GIB


@every_preset
def test_the_disk_holds_what_is_downloaded(preset: Preset) -> None:
    # A built-in model comes with the image.
    need = required_disk(preset.model) if "/" in preset.model.id else 0
    assert need <= bytes_of(preset.resources.disk) <= need + GIB


@every_preset
def test_the_processors_asked_for_are_a_fraction_of_any_node(preset: Preset) -> None:
    assert 0 < parse_quantity(preset.resources.cpu) <= 4


@every_preset
def test_the_server_is_told_the_type_that_the_figures_are_for(preset: Preset) -> None:
    arguments = list(preset.server.args)
    assert arguments[arguments.index("--dtype") + 1] == preset.model.dtype


@every_preset
def test_a_preset_that_downloads_is_pinned_to_a_commit(preset: Preset) -> None:
    if "/" in preset.model.id:
        assert re.fullmatch("[0-9a-f]{40}", preset.model.revision or "")
    else:
        assert preset.model.revision is None
        assert preset.model.revision_note


@every_preset
def test_no_preset_runs_code_from_a_model_s_repository(preset: Preset) -> None:
    assert not any("remote" in argument for argument in preset.server.args)


def test_the_licences_that_ask_for_acceptance_are_marked_gated() -> None:
    assert {name for name, preset in CATALOGUE.items() if preset.model.gated} == {
        "gemma-2-9b-it",
        "llama-3-8b-instruct",
        "llama-3.1-8b-instruct",
    }


def test_commits_are_not_shared_by_different_models() -> None:
    commits = [preset.model.revision for preset in CATALOGUE.values() if preset.model.revision]
    assert len(set(commits)) == len(commits)


@pytest.mark.skipif(
    not TINY_CHAT.is_file(), reason="tiny-chat is not trained yet: no config.json to compare with"
)
def test_tiny_chat_has_the_shape_of_the_model_that_is_shipped() -> None:
    config = json.loads(TINY_CHAT.read_text())
    model = CATALOGUE["tiny-chat"].model
    shape = model.dimensions
    assert shape is not None
    assert {
        "architectures": [model.architecture],
        "hidden_size": shape.hidden_size,
        "intermediate_size": shape.intermediate_size,
        "vocab_size": shape.vocab_size,
        "num_attention_heads": shape.heads,
        "num_hidden_layers": model.layers,
        "num_key_value_heads": model.kv_heads,
        "max_position_embeddings": model.context_length,
        "tie_word_embeddings": shape.tied_embeddings,
    }.items() <= config.items()
    assert model.head_size == config["hidden_size"] // config["num_attention_heads"]


@pytest.mark.parametrize("preset", CATALOGUE.values(), ids=list(CATALOGUE))
def test_each_preset_has_an_example(preset: Preset) -> None:
    example = yaml.safe_load((REPOSITORY / f"examples/workspace-{preset.name}.yaml").read_text())
    assert example["inference"]["preset"]["name"] == preset.name
    options = example["inference"]["preset"].get("presetOptions", {})
    assert ("modelAccessSecret" in options) == preset.model.gated
    assert ("instanceType" in example["resource"]) == preset.needs_gpu
