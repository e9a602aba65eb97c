"""What Covalent's plug-ins share."""

from covalab.core.errors import TaskCancelledError, TaskRuntimeError
from covalab.sdk.configuration import get_config, set_config

from . import logger

__all__ = ["TaskCancelledError", "TaskRuntimeError", "get_config", "logger", "set_config"]
