"""Models that ship inside this package, by name. Each is a folder beside this file."""

from __future__ import annotations

from pathlib import Path

_HERE = Path(__file__).parent


def built_in_models() -> dict[str, Path]:
    """Name -> folder of every model that needs no download."""
    return {config.parent.name: config.parent for config in sorted(_HERE.glob("*/config.json"))}
