"""`python -m berth_operator.cli`: the `berth` command where no script is installed."""

import sys

from berth_operator.cli import main

if __name__ == "__main__":
    sys.exit(main())
