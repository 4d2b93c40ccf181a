"""The `berth` command: `berth local`, `berth demo`. Every subcommand is a module that adds its own parser."""

import argparse
import sys
from collections.abc import Sequence

from berth_operator import __version__
from berth_operator.cli import demo, local
from berth_operator.cli.errors import CliError

COMMANDS = (local, demo)
"""Modules with `add_parser(subparsers)`; the parser it adds sets `run`, which takes the arguments and returns
the exit status."""


def parser() -> argparse.ArgumentParser:
    """Return the command's parser."""
    top = argparse.ArgumentParser(
        prog="berth", description="Run LLMs on Kubernetes from a few lines of YAML."
    )
    top.add_argument("--version", action="version", version=f"berth {__version__}")
    subparsers = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add_parser(subparsers)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status: 0 done, 1 failed with one line that says why, 2 wrong usage."""
    arguments = parser().parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except CliError as error:
        print(f"berth {arguments.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
