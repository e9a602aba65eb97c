"""Asking for results, by Covalent's internal path."""

from covalab.sdk.dispatching.api import cancel, get_result
from covalab.sdk.results.result_manager import ResultManager, _delete_result, get_result_manager

__all__ = ["ResultManager", "_delete_result", "cancel", "get_result", "get_result_manager"]
