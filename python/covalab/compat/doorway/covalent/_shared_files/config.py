"""The configuration, by Covalent's internal path."""

from covalab.sdk.configuration import get_config, reload_config, set_config, update_config

__all__ = ["get_config", "reload_config", "set_config", "update_config"]
