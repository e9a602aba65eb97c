"""A module beside a program: it travels by value."""


def twice(x: int) -> int:
    """Return the double."""
    return 2 * x
