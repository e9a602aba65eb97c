"""Output of a cell that runs beside the session, copied to the session's own while that waits for its end."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from covalab.worker.capture import Capture, display_files, output_files
from covalab.worker.outputs.recorder import recorder

_CHUNK: Final = 1 << 20


class BesideOutput:
    """Copy of what a fork shows, for those who look on: the cell's turn has come, and nothing of it is decided.

    Parameters
    ----------
    capture
        The session's output, empty.
    folder
        The folder with the files of the fork.
    pid
        The fork.
    """

    def __init__(self, capture: Capture, folder: str, pid: int) -> None:
        self._capture = capture
        self._folder, self._pid = folder, pid
        self._files: list[_Growing] = []

    def copy(self) -> None:
        """Copy what has come since the last time."""
        if not self._files:
            paths = [*output_files(self._folder, self._pid)][:2]
            paths += [*display_files(self._folder, self._pid)][:1]
            self._files = [_Growing(path) for path in paths]
        for number, file in enumerate(self._files):
            data = file.read()
            if file.is_anew:
                recorder.take()
            if not data:
                continue
            if number < 2:
                self._capture.copy(number, data)
            else:
                recorder.copy(data)

    def drop(self) -> None:
        """Take away what was copied: the outputs of the cell follow, or those of another run of it."""
        for file in self._files:
            file.close()
        self._capture.take()
        recorder.take()


class _Growing:
    """File that another process writes: text is put at its end, or it is replaced by a shorter one.

    Attributes
    ----------
    is_anew
        Whether what was read last is the beginning of another file in its place.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = -1
        self._position = 0
        self._inode = 0
        self.is_anew = False

    def read(self) -> bytes:
        """Return what has come since the last time."""
        self.is_anew = False
        try:
            found = self._path.stat()
            if found.st_ino != self._inode:
                self.close()
                self._fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
                self.is_anew, self._inode, self._position = self._inode != 0, found.st_ino, 0
            parts = []
            while part := os.pread(self._fd, _CHUNK, self._position):
                self._position += len(part)
                parts.append(part)
        except OSError:  # not there yet, or the process is gone and its files
            return b""
        return b"".join(parts)

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
