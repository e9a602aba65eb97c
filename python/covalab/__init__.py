"""covalab."""
