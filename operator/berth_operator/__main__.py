"""`python -m berth_operator run`: the operator's process."""

import argparse
import asyncio
import os
import signal
import sys

from berth_operator.settings import SettingsError, settings_from


def main(arguments: list[str] | None = None) -> int:
    """Run the operator; return its exit status.

    2 for unusable settings; 1 without a cluster or presets, or when it may not write any more.
    """
    parser = argparse.ArgumentParser(prog="berth_operator", description="The Berth operator.")
    parser.add_subparsers(dest="command", required=True).add_parser(
        "run", help="reconcile Workspaces until stopped; settings come from BERTH_* environment variables"
    )
    parser.parse_args(arguments)
    try:
        settings = settings_from(os.environ)
    except SettingsError as error:
        print(f"berth_operator: {error}", file=sys.stderr)
        return 2
    # Imported late: a wrong setting is told in a tenth of a second, not after kopf has loaded.
    from berth_operator.kube import NoCluster
    from berth_operator.leadership import LeadershipLost
    from berth_operator.presets import PresetError
    from berth_operator.process import configure_logging, run

    configure_logging(settings)
    try:
        asyncio.run(run(settings))
    except (LeadershipLost, NoCluster, PresetError) as error:
        print(f"berth_operator: {error}", file=sys.stderr)
        return 1
    except asyncio.CancelledError:
        pass
    return 0


if __name__ == "__main__":
    # Until the loop takes the signal over: a stop during the start is no failure.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    sys.exit(main())
