"""The Kubernetes versions that Berth supports: the chart, the tests, CI and the documentation all read it here."""

from typing import Final

OLDEST_KUBERNETES: Final = "1.30"
"""The first version whose ValidatingAdmissionPolicy is stable. Older ones are refused by the chart."""

NEWEST_KUBERNETES: Final = "1.36"
"""The newest version that the tests run on. Newer ones are not refused: an API that is stable stays."""
