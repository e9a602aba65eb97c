"""Place of a pool: which cluster it is on."""

from __future__ import annotations

from typing import NamedTuple

from covalab import config
from covalab.config import ClusterConfig, DaskConfig


class Place(NamedTuple):
    """Words of a pool's key about its cluster: an address, a name in the configuration, or this machine."""

    scheduler: str = ""
    cluster: str = ""
    home: bool = False

    def wanted(self) -> DaskConfig:
        """Return what the configuration says about this cluster.

        Raises
        ------
        ConfigError
            If the file is wrong, or does not have the cluster.
        """
        if self.cluster:
            return config.of_cluster(self.cluster)
        found = config.load().dask
        if self.home:
            return found.at_home()
        if self.scheduler:
            return found.with_cluster(
                ClusterConfig(
                    scheduler_address=self.scheduler,
                    tls_ca_file=found.tls_ca_file,
                    tls_client_cert=found.tls_client_cert,
                    tls_client_key=found.tls_client_key,
                )
            )
        return found
