"""The `berth` command, and the same as `kubectl berth`. Every subcommand is a module that adds its own parser."""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from types import ModuleType

from berth_operator import __version__
from berth_operator.cli import chat, demo, explain, local, logs, plan, presets
from berth_operator.cli.errors import CliError

COMMANDS: tuple[ModuleType, ...] = (local, demo, plan, explain, presets, chat, logs)
"""Modules with `add_parser(subparsers)`; the parser it adds sets `run`, which takes the arguments and returns
the exit status."""


IN_CLUSTER: tuple[ModuleType, ...] = (plan, explain, presets, chat, logs)
"""The commands that make sense as `kubectl berth ...`."""


def parser(prog: str = "berth", commands: Sequence[ModuleType] = COMMANDS) -> argparse.ArgumentParser:
    """Return the command's parser."""
    top = argparse.ArgumentParser(prog=prog, description="Run LLMs on Kubernetes from a few lines of YAML.")
    top.add_argument("--version", action="version", version=f"berth {__version__}")
    subparsers = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in commands:
        command.add_parser(subparsers)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run `berth`; return its exit status: 0 done, 1 failed with one line that says why, 2 wrong usage."""
    return _run(parser(), argv)


def kubectl_main(argv: Sequence[str] | None = None) -> int:
    """Run `kubectl berth`, which kubectl finds as a program named kubectl-berth; exit status as that of `berth`."""
    return _run(parser("kubectl berth", IN_CLUSTER), argv)


def _run(top: argparse.ArgumentParser, argv: Sequence[str] | None) -> int:
    arguments = top.parse_args(argv)
    # What this library warns of fails a moment later, and is told then.
    logging.getLogger("kubernetes").setLevel(logging.ERROR)
    try:
        return int(arguments.run(arguments))
    except CliError as error:
        print(f"{top.prog} {arguments.command}: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # Whoever read the output has seen enough. Python would try to flush it once more at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130
