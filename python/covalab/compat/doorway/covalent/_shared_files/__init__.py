"""What Covalent's plug-ins share."""

from covalab.sdk.configuration import get_config, set_config

from . import logger

__all__ = ["get_config", "logger", "set_config"]
