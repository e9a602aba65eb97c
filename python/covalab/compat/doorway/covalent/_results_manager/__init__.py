"""Results, by Covalent's internal path."""

from covalab.sdk.api import cancel, get_result
from covalab.sdk.result import Result

__all__ = ["Result", "cancel", "get_result"]
