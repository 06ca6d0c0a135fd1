"""Safetensors files: each is loaded, and what was loaded can be saved and loaded again, or is refused."""

import contextlib
import json
import random
import tempfile
import warnings
from pathlib import Path

import numpy as np

import amx
from amx import saving, tensor_file
from amx.errors import SavedFileError
from fuzz import changing
from fuzz.engine import Fuzzer


def load(data: bytes) -> None:
    """And use it."""
    with tempfile.TemporaryDirectory() as directory, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(directory, "file")
        path.write_bytes(data)
        found, said = {}, ""
        try:
            found = amx.load_safetensors(path)
        except SavedFileError as error:
            said = str(error)
        assert said.isprintable(), "a terminal would obey it"
        for each in found.values():
            if isinstance(each, amx.Linear) and each.in_features * each.out_features < 1 << 16:
                with contextlib.suppress(amx.errors.AmxUnavailableError):
                    each(np.ones((2, each.in_features), np.float32))
        with contextlib.suppress(SavedFileError):  # two names that come to be one, or one beyond UTF-8
            amx.save_safetensors(path, found)
            again = amx.load_safetensors(path)
            assert {name: repr(each) for name, each in again.items()} == {
                name: repr(each) for name, each in found.items()
            }


def change(chance: random.Random, corpus: list[bytes]) -> bytes:
    """Other bytes, another header, or other facts in its metadata."""
    data = chance.choice(corpus)
    end = 8 + int.from_bytes(data[:8], "little")
    if chance.random() < 0.2:
        return changing.spoil(chance, data, corpus, chance.choice((0, 8, end)))
    header = json.loads(data[8:end])
    if chance.random() < 0.5:
        text = changing.as_text(chance, changing.spoil_tree(chance, header))
    else:
        facts = json.loads(header["__metadata__"]["amx"])
        spoiled = changing.as_text(chance, changing.spoil_tree(chance, facts))
        header["__metadata__"]["amx"] = spoiled.decode(errors="replace")
        text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[end:]


def _plant_unchecked_facts() -> None:
    """What is said of an object is taken to be complete."""
    saving._check_keys = lambda fact, *names: None


def _plant_unchecked_header() -> None:
    """It is taken to be JSON."""
    tensor_file._parsed = lambda path, text: json.loads(text)


FUZZER = Fuzzer(
    "saved", load, change, planted={"facts": _plant_unchecked_facts, "header": _plant_unchecked_header}
)
