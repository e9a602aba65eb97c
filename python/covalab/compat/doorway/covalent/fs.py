"""Files, as `covalent.fs`."""

from covalab.compat.door import become

become(__name__, "covalab.files")
