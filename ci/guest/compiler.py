"""The host's side of ci/guest/cc: compiles what guests ask for, once for all of them."""

import functools
import os
import shlex
import subprocess
import tempfile
from pathlib import Path

OUTPUT = "OUTPUT"
SHARED = "/run/host/"


def answer(request: Path) -> None:
    """Do what `request` asks for; the files that it names in its /run/host lie beside it."""
    words: list[str | tuple[str, bytes]] = []
    for word in request.read_text().split("\0")[:-1]:
        if not word.startswith(SHARED):
            words.append(word)
        elif word.endswith(".output"):
            words.append(OUTPUT)
        else:
            file = request.with_name(word.removeprefix(SHARED))
            words.append((file.suffix, file.read_bytes()))
    request.unlink()
    status, messages, output = _compiled(tuple(words))
    request.with_suffix(".messages").write_bytes(messages)
    request.with_suffix(".output").write_bytes(output)
    request.with_suffix(".output").chmod(0o755)
    unfinished = request.with_suffix(".unfinished")
    unfinished.write_text(f"{status}\n")
    unfinished.rename(request.with_suffix(".status"))


@functools.cache
def _compiled(words: tuple[str | tuple[str, bytes], ...]) -> tuple[int, bytes, bytes]:
    """The exit status of $CC, what it said and what it made; files are given by their suffix and contents."""
    with tempfile.TemporaryDirectory() as directory:
        output = Path(directory, "output")
        command = shlex.split(os.environ.get("CC", "cc"))
        for number, word in enumerate(words):
            if isinstance(word, tuple):
                file = Path(directory, f"{number}{word[0]}")
                file.write_bytes(word[1])
                command.append(str(file))
            else:
                command.append(str(output) if word == OUTPUT else word)
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
        return done.returncode, done.stdout, output.read_bytes() if output.exists() else b""
