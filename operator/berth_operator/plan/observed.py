"""What the cluster holds of a Workspace, as plain data: all that planning looks at beside the Workspace itself."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Observed:
    """The live objects that belong to one Workspace. Absent ones are None or empty."""

    deployment: dict[str, Any] | None = None
    service: dict[str, Any] | None = None
    pods: tuple[dict[str, Any], ...] = ()

    @property
    def current_pods(self) -> tuple[dict[str, Any], ...]:
        """The pods that are not being deleted, in the order of their names."""
        live = (pod for pod in self.pods if not pod["metadata"].get("deletionTimestamp"))
        return tuple(sorted(live, key=lambda pod: str(pod["metadata"]["name"])))
