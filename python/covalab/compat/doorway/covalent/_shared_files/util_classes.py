"""Statuses, by Covalent's internal path."""

from covalab.sdk.results.status import RESULT_STATUS, Status

__all__ = ["RESULT_STATUS", "Status"]
