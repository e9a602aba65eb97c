"""The helpers of Covalent's that programs and plug-ins import."""

from covalab.sdk.configuration import format_server_url

__all__ = ["format_server_url"]
