"""`berth presets [NAME]`: the models there are, and what each needs."""

import argparse
from pathlib import Path

from berth_operator.api.names import ANNOTATION_RUNTIME
from berth_operator.cli.connection import dumped
from berth_operator.cli.errors import CliError
from berth_operator.cli.terminal import BOLD, styled, table
from berth_operator.plan.instance_types import CLOUDS, smallest
from berth_operator.presets import Preset, PresetError, load_presets
from berth_operator.quantity import gibibytes
from berth_operator.sizing import kv_bytes_per_token


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `berth presets`."""
    parser = subparsers.add_parser(
        "presets",
        help="list the presets, or show one",
        description="List the presets, or show what one needs.",
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="a preset's name, or a model's hub id")
    parser.add_argument("-o", "--output", choices=("yaml", "json"), help="print the preset as data")
    parser.add_argument(
        "--presets-dir", type=Path, metavar="DIR", help="folder of presets (default: Berth's own)"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print and return 0, or raise CliError for a name that no preset has."""
    try:
        catalogue = load_presets(arguments.presets_dir)
    except PresetError as error:
        raise CliError(str(error)) from None
    if arguments.name is None:
        if arguments.output:
            print(dumped([_data(preset) for preset in catalogue.values()], arguments.output))
        else:
            print(table([("NAME", "PARAMETERS", "CONTEXT", "GPU", "GATED"), *map(_row, catalogue.values())]))
        return 0
    preset = catalogue.get(arguments.name)
    if preset is None:
        near = catalogue.nearest(arguments.name)
        hint = f"did you mean {near[0]}?" if near else "`berth presets` lists them"
        raise CliError(f'there is no preset "{arguments.name}"; {hint}')
    print(dumped(_data(preset), arguments.output) if arguments.output else _described(preset))
    return 0


def _data(preset: Preset) -> dict[str, object]:
    return preset.model_dump(mode="json", by_alias=True)


def _row(preset: Preset) -> tuple[str, ...]:
    gpus = f"{preset.resources.gpu} x {preset.resources.gpu_memory}" if preset.needs_gpu else "none"
    return (
        preset.name,
        _parameters(preset),
        f"{preset.model.context_length:,}",
        gpus,
        "yes" if preset.model.gated else "no",
    )


def _parameters(preset: Preset) -> str:
    count = preset.model.parameters
    return f"{count / 1e9:.2f} billion" if count >= 10**8 else f"{count / 1e6:.1f} million"


def _described(preset: Preset) -> str:
    model, need = preset.model, preset.memory_need()
    cache = kv_bytes_per_token(model.layers, model.kv_heads, model.head_size, model.dtype)
    rows = [
        ("Model", model.id),
        ("Revision", model.revision or model.revision_note),
        ("Licence", f"{model.license}{', gated: needs modelAccessSecret' if model.gated else ''}"),
        ("Parameters", f"{_parameters(preset)}, {model.dtype}"),
        ("Context", f"{model.context_length:,} tokens"),
        ("Weights", gibibytes(need.weights)),
        ("KV cache", f"{cache / 2**10:.1f} KiB a token"),
        ("Needs", f"{gibibytes(need.total)} for one conversation"),
        ("Pod asks for", _asked(preset)),
        ("Ready within", preset.readiness_timeout),
    ]
    if preset.vllm is not None:
        tokens = preset.vllm.max_model_len or model.context_length
        rows.append(("With vLLM", f"annotation {ANNOTATION_RUNTIME}: vllm, up to {tokens:,} tokens"))
    if preset.needs_gpu:
        fitting = (smallest(need.total, preset.resources.gpu, cloud) for cloud in CLOUDS)
        rows.append(("Smallest types", ", ".join(entry.name for entry in fitting if entry)))
    return f"{styled(preset.name, BOLD)}: {preset.description}\n\n{table(rows)}"


def _asked(preset: Preset) -> str:
    needs = preset.resources
    gpus = f"{needs.gpu} GPU, " if needs.gpu else ""
    return f"{gpus}{needs.cpu} CPU, {needs.memory} memory, {needs.disk} disk"
