"""The ConfigMap that `inference.config` names, read by name: the operator may list none."""

from dataclasses import dataclass

from berth_operator.cluster_cache import CONFIG_MAPS, Key
from berth_operator.kube import KubeClient, Refused
from berth_operator.plan.server_config import ConfigMapData


@dataclass(frozen=True, slots=True)
class ConfigMaps:
    """Reads ConfigMaps. What is read is not kept: the next reconcile sees what stands then."""

    client: KubeClient

    async def read(self, key: Key, name: str) -> ConfigMapData:
        """Return a ConfigMap's data, or why there is none. Raises `KubeError` if the API server cannot say now."""
        try:
            found = await self.client.get(CONFIG_MAPS, key[0], name)
        except Refused as error:
            return ConfigMapData(name, refused=str(error))
        if found is None:
            return ConfigMapData(name)
        data = found.get("data")
        return ConfigMapData(name, data if isinstance(data, dict) else {})
