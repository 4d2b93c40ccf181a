"""`python -m berth_inference serve --model ...`; `fetch`, which downloads its weights; `front`, which asks a vLLM."""

from __future__ import annotations

import os
import sys

from berth_inference.garbage import let_imports_be
from berth_inference.settings import SettingsError, parse_command


def main() -> int:
    """Serve until told to stop, or fetch. Exit codes: 0 drained or fetched, 1 could not, 2 wrong usage."""
    try:
        command, settings = parse_command(sys.argv[1:], os.environ)
    except SettingsError as error:
        sys.stderr.write(f"berth_inference: error: {error}\n")
        return 2
    if command == "fetch":
        from berth_inference.fetch import fetch

        return fetch(settings)
    let_imports_be()
    from berth_inference.server import run  # wrong usage is told without importing the server

    if command == "front":
        # As if it were not there: transformers would import it for the sake of a tokenizer, which takes 200 MB.
        sys.modules["torch"] = None  # type: ignore[assignment]
        os.environ["TRANSFORMERS_NO_ADVISORY_WARNINGS"] = "1"  # that it is not there
        from berth_inference.fronting import load_front

        return run(settings, load_front)
    from berth_inference.loading import load_engine

    return run(settings, load_engine)


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # A loader may still be inside the import of a C extension, which nothing can interrupt, and
    # finalising the interpreter beside it can abort the process. Everything of ours is closed.
    os._exit(code)
