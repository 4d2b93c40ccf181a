"""The server's settings as data, for programs that must judge a setting without importing the server.

python -m berth_inference.settings_schema                print it
python -m berth_inference.settings_schema --write FILE   write it to a file
python -m berth_inference.settings_schema --check FILE   say whether a file is current; exit 1 where it is not

Each setting has a `type` (string, integer, number or boolean), its bounds or choices where it has any, whether it is
`repeatable`, and a `description`.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from berth_inference.settings import OPTIONS, REPEATABLE, SERVE_OPTIONS, Between, OneOf, truth


def settings_schema() -> dict[str, dict[str, Any]]:
    """Every setting of `serve`, by its name as a field: `drain_seconds`."""
    return {name: _setting(name) for name in sorted(SERVE_OPTIONS)}


def _setting(name: str) -> dict[str, Any]:
    parse, text = OPTIONS[name]
    setting: dict[str, Any] = {"type": "string", "description": text}
    if isinstance(parse, Between):
        setting |= {
            "type": "integer" if parse.convert is int else "number",
            "minimum": parse.low,
            "maximum": parse.high,
        }
    elif isinstance(parse, OneOf):
        setting["choices"] = list(parse.choices)
    elif parse is truth:
        setting["type"] = "boolean"
    if name in REPEATABLE:
        setting["repeatable"] = True
    return setting


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m berth_inference.settings_schema")
    target = parser.add_mutually_exclusive_group()
    target.add_argument("--write", type=Path, metavar="FILE", help="write it to FILE")
    target.add_argument("--check", type=Path, metavar="FILE", help="exit 1 unless FILE is current")
    options = parser.parse_args(arguments)
    page = json.dumps(settings_schema(), indent=2) + "\n"
    if options.write:
        options.write.write_text(page, encoding="utf-8")
    elif options.check:
        if not options.check.is_file() or options.check.read_text(encoding="utf-8") != page:
            sys.stderr.write(
                f"{options.check} is not current: run `make generate` and commit what it writes\n"
            )
            return 1
    else:
        sys.stdout.write(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
