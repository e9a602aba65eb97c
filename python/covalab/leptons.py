"""`covalab.leptons`, Covalent's path of `covalab.sdk.building.lepton_decorators`: the same module."""

import sys

from covalab.sdk.building import lepton_decorators
from covalab.sdk.building.lepton_decorators import *  # noqa: F403 - for tools that read and do not run

sys.modules[__name__] = lepton_decorators
