"""Statuses, by Covalent's internal path."""

from covalab.core.covalent_status import RESULT_STATUS, Status

__all__ = ["RESULT_STATUS", "Status"]
