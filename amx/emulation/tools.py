"""Other programs that are asked about foreign names and files: what they take and give is bounded."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import tempfile
import time

from amx import lifetime

__all__ = ["Tools"]

SECONDS = 60  # of all runs together
OUTPUT_BYTES = 16 * 2**20  # of one run: names of C++ can grow exponentially when they are written out
MEMORY_BYTES = 4 * 2**30


class Tools:
    """The ones that are installed, as long as there is time."""

    def __init__(self) -> None:
        self._seconds: float = SECONDS

    def ask(self, name: str, *arguments: str, text: str = "", answers: int) -> list[str]:
        """The lines it prints for that input; none where it is not there, fails, or gives not so many.

        One more or less would be taken for the answer to another question.
        """
        tool = shutil.which(name)
        if tool is None or self._seconds <= 0:
            return []
        begun = time.monotonic()
        try:
            said = _output([tool, *arguments], text.encode(), self._seconds)
        except (OSError, subprocess.SubprocessError):
            return []
        finally:
            self._seconds -= time.monotonic() - begun
        lines = said.decode(errors="replace").removesuffix("\n").split("\n")
        return lines if len(lines) == answers else []


def _output(command: list[str], text: bytes, seconds: float) -> bytes:
    """Through files, whose size the kernel limits; of a pipe the reader would have to."""
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as said:
        given.write(text)
        given.seek(0)
        lifetime.run(
            command,
            stdin=given,
            stdout=said,
            stderr=subprocess.DEVNULL,
            timeout=seconds,
            check=True,
            text=False,
            preexec_fn=_limit,
            env={**os.environ, "LD_PRELOAD": ""},  # a sanitizer's runtime maps more than MEMORY_BYTES
        )
        said.seek(0)
        return said.read()


def _limit() -> None:
    """Beyond its output's limit SIGXFSZ ends it, by default with a core file."""
    limits = {
        resource.RLIMIT_FSIZE: OUTPUT_BYTES,
        resource.RLIMIT_AS: MEMORY_BYTES,
        resource.RLIMIT_CORE: 0,
    }
    for what, most in limits.items():
        _, hard = resource.getrlimit(what)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (most, hard))
