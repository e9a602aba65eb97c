"""The logger that Covalent's plug-ins write to; on a worker it is part of a task's output."""

import logging
import os

app_log = logging.getLogger("covalent")
log_stack_info = os.environ.get("LOGSTACK", "TRUE").upper() == "TRUE"
log_debug_info = False

__all__ = ["app_log", "log_debug_info", "log_stack_info"]
