"""Results, by Covalent's internal path."""

from covalab.sdk.dispatching.api import cancel, get_result
from covalab.sdk.results.result import Result

__all__ = ["Result", "cancel", "get_result"]
