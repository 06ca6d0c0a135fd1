"""Files of recorded machines: each is replayed by whatever looks at a machine, or refused."""

import contextlib
import io
import json
import random
import re
import tempfile
import warnings
from pathlib import Path

import machines

import amx
from amx import cli, machine, recording
from amx.errors import RecordError
from fuzz import changing
from fuzz.engine import Fuzzer

CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")
COMMANDS = (["info"], ["info", "--json"], ["explain"], ["explain", "--json"])


def replay(data: bytes) -> None:
    """All that is asked of a machine."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "machine.json")
        path.write_bytes(data)
        try:
            found = recording.load(path)
        except RecordError:
            return
    said = io.StringIO()
    with machine.use(found), contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        with contextlib.suppress(recording.ProcessEndedError, amx.AmxError), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for words in COMMANDS:
                cli.main(words)
        amx.explain(probe=True)
        recording.record(found, title="title", source="source")
    said.getvalue().encode()
    assert not CONTROL.search(said.getvalue()), "a terminal would obey it"


def change(chance: random.Random, corpus: list[bytes]) -> bytes:
    """A machine with other facts."""
    tree = json.loads(chance.choice(corpus))
    if chance.random() < 0.4:
        place = chance.choice([*tree["cpuid"]])
        words = [hex(chance.choice((0, 1, 2**32 - 1, chance.getrandbits(32)))) for _ in range(4)]
        if chance.random() < 0.3:  # the names of processors and hypervisors are there
            place = chance.choice(("0.0", "40000000.0", "80000002.0"))
            text = chance.choice((b"[/b][/b][/b]", b"\x1b[31m\x9b31m\r\n", chance.randbytes(12)))
            words[1:] = (hex(int.from_bytes(text[at : at + 4], "little")) for at in (0, 8, 4))
        tree["cpuid"][place] = " ".join(words)
        return json.dumps(tree).encode()
    return changing.as_text(chance, changing.spoil_tree(chance, tree))


def _plant_unchecked() -> None:
    """A file is taken to be what `record` wrote."""
    recording.load = lambda path: recording.Recorded(json.loads(path.read_text()))


FUZZER = Fuzzer(
    "machines", replay, change, planted={"unchecked": _plant_unchecked}, folder=machines.DIRECTORY
)
