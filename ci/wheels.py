"""Look at what is to be released, whoever built it: `ci/wheels.py FILE...`, wheels and the sources (sdist).

Says each fault and ends with 1 where there is one; then a table of the files. With the sdist among the FILEs,
what a wheel takes from it unchanged is compared. Needs what pyproject.toml lists in the group `wheels`.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import socket
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import hardening
from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

LARGEST = 3 * 2**20
LIBRARIES = {
    "manylinux": {"libc.so.6", "libm.so.6", "libpthread.so.0", "libdl.so.2", "ld-linux-x86-64.so.2"},
    "musllinux": {"libc.so", "libc.musl-x86_64.so.1", "ld-musl-x86_64.so.1"},
}
"""What programs and libraries may need, by the platform of the wheel: parts of the C library, no other."""
BINARIES = {
    r"amx/_native\.(abi3|(abi3t|cpython-\d+t)-x86_64-linux-(gnu|musl))\.so": 0,
    r"amx/emulation/libamxemu\.so": 0,
    r"amx/conformance/amx-provoke(-static)?": 0o111,
}
"""Files that are compiled, and which of their permissions are needed."""
NEEDED = ["amx/py.typed", "amx/data/digits.npz", "amx/emulation/libamxemu.so", "amx/conformance/amx-provoke"]
NEEDED += ["amx/conformance/amx-provoke-static"]
IN_DIST_INFO = [
    "METADATA",
    "RECORD",
    "WHEEL",
    "entry_points.txt",
    "licenses/LICENSE",
    "licenses/amx/data/README.md",
]
IN_DIST_INFO += ["sboms/linux-amx.cdx.json"]
OF_THE_BUILD = re.compile(
    r"\.(c|h|o|a|in|txt|pyc|orig|log)$|(^|/)(tests?|build|CMake[^/]*|__pycache__|\.[^/]+)/|(^|/)\.[^/]+$"
)
"""Names of what is needed or made while building and testing, and of hidden files."""
PLACES = re.compile(rb"/(?:home|root|tmp|work|builds?|project|host|Users)/[\w.+-]+")
"""Paths on the machine that built a file."""
DF_1_INITFIRST = 0x20
DF_STATIC_TLS = 0x10


@dataclass(frozen=True)
class Wheel:
    """A wheel's file name and content."""

    path: Path
    files: dict[str, bytes]
    modes: dict[str, int]

    @classmethod
    def read(cls, path: Path) -> Wheel:
        """All of it, into memory."""
        with zipfile.ZipFile(path) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            files = {entry.filename: archive.read(entry) for entry in entries}
        return cls(path, files, {entry.filename: entry.external_attr >> 16 for entry in entries})

    @property
    def dist_info(self) -> str:
        """The directory of what is said about the package."""
        return "-".join(self.path.name.split("-")[:2]) + ".dist-info/"

    @property
    def tags(self) -> tuple[str, str, str]:
        """Python, ABI and platform, as in the name."""
        python, abi, platform = self.path.stem.split("-")[-3:]
        return python, abi, platform

    def platform(self) -> str:
        """Of LIBRARIES; empty: none of these."""
        return next((family for family in LIBRARIES if self.tags[2].startswith(family)), "")


def of_wheel(wheel: Wheel, sdist: dict[str, bytes] | None = None) -> list[str]:
    """The faults of a wheel. `sdist` is what the sources hold, by names without the first directory."""
    faults = [*of_name(wheel), *of_files(wheel), *of_bill(wheel)]
    for name in wheel.files:
        if is_binary(wheel, name):
            faults += [f"{name}: {fault}" for fault in of_binary(wheel, name)]
        elif name.startswith("amx/") and sdist is not None and sdist.get(name) != wheel.files[name]:
            faults.append(f"{name}: it is not that of the sdist")
    return faults


def of_name(wheel: Wheel) -> Iterator[str]:
    """Of its size and tags."""
    size = wheel.path.stat().st_size
    if size > LARGEST:
        yield f"{size / 2**20:.1f} MiB, and not {LARGEST / 2**20:.0f} at most"
    if not wheel.platform():
        yield f"its platform {wheel.tags[2]} is neither manylinux nor musllinux (auditwheel repair)"
    python, abi, platform = wheel.tags
    written = re.findall(
        r"^Tag: (\S+)$", wheel.files.get(f"{wheel.dist_info}WHEEL", b"").decode(), re.MULTILINE
    )
    if sorted(written) != sorted(f"{python}-{abi}-{each}" for each in platform.split(".")):
        yield f"its WHEEL has the tags {', '.join(written) or 'none'}, and its name others"


def of_files(wheel: Wheel) -> Iterator[str]:
    """Of which files are there, and of what they tell of where they come from."""
    for name in [*NEEDED, *(wheel.dist_info + name for name in IN_DIST_INFO)]:
        if name not in wheel.files:
            yield f"{name} is missing"
    natives = [name for name in wheel.files if re.fullmatch(next(iter(BINARIES)), name)]
    if len(natives) != 1:
        yield f"compiled modules: {', '.join(natives) or 'none'}, and not one"
    for name in wheel.files:
        if not name.startswith(("amx/", wheel.dist_info)) or (
            name.startswith("amx/") and OF_THE_BUILD.search(name)
        ):
            yield f"{name}: it is of the tests or the build"
        for pattern, mode in BINARIES.items():
            if re.fullmatch(pattern, name) and wheel.modes[name] & mode != mode:
                yield f"{name}: it is not executable"
        yield from (f"{name}: it names {place} of the machine that built it" for place in places(wheel, name))


def places(wheel: Wheel, name: str) -> list[str]:
    """What is ours as it is in the sdist may speak of /home; what was made while building may not."""
    if not (is_binary(wheel, name) or name.startswith(wheel.dist_info)) or name.endswith("METADATA"):
        return []
    here = [str(Path.home()), str(Path(__file__).parents[1]), socket.gethostname()]
    found = {place.decode() for place in PLACES.findall(wheel.files[name])}
    found |= {text for text in here if len(text) > 5 and text.encode() in wheel.files[name]}
    return sorted(found)


def is_binary(wheel: Wheel, name: str) -> bool:
    """Whether it is compiled."""
    return wheel.files[name].startswith(b"\x7fELF")


def of_binary(wheel: Wheel, name: str) -> list[str]:
    """Of what is compiled."""
    if not any(re.fullmatch(pattern, name) for pattern in BINARIES):
        return ["it is no file of ours"]
    try:
        elf = ELFFile(io.BytesIO(wheel.files[name]))
        faults = hardening.faults(elf)
        if elf["e_machine"] != "EM_X86_64":
            faults.append(f"it is for {elf['e_machine']}")
        more = hardening.libraries(elf) - LIBRARIES.get(wheel.platform(), set())
        faults += [f"it needs {library}" for library in sorted(more)]
        kept = [
            section.name for section in elf.iter_sections() if section.name.startswith((".debug", ".symtab"))
        ]
        if kept:
            faults.append(f"it is not stripped ({', '.join(kept)})")
        if name.endswith("-static") and hardening.dynamic(elf):
            faults.append("it is not linked statically")
        if name.endswith("amx-provoke") and not hardening.segments(elf, "PT_INTERP"):
            faults.append("it is linked statically, so the emulator cannot be preloaded into it")
        static_tls = hardening.has_flag(elf, "DT_FLAGS", DF_STATIC_TLS)
        if wheel.platform() == "musllinux" and "_native" in name and static_tls:
            faults.append("musl does not load it: its thread-local variables are of the model initial-exec")
        if name.endswith("libamxemu.so") and not hardening.has_flag(elf, "DT_FLAGS_1", DF_1_INITFIRST):
            faults.append("it is not initialised before other libraries (-z initfirst)")
    except (ELFError, ValueError) as error:
        return [f"its headers cannot be read: {error}"]
    return faults


def of_bill(wheel: Wheel) -> Iterator[str]:
    """Of the bill of materials (PEP 770): its form, and that it names what is in the wheel."""
    name = f"{wheel.dist_info}sboms/linux-amx.cdx.json"
    text = wheel.files.get(name, b"").decode()
    try:
        bill = json.loads(text)
        there = {component["name"] for component in bill["components"]}
    except (ValueError, KeyError, TypeError) as error:
        yield f"{name}: it is no bill of materials ({error})"
        return
    if bill["metadata"]["component"]["version"] != wheel.path.name.split("-")[1]:
        yield f"{name}: it is for another version"
    for component in ("cffi", "Optical Recognition of Handwritten Digits"):
        if component not in there:
            yield f"{name}: it lacks {component}"
    if not there & {"musl", "glibc"}:
        yield f"{name}: it lacks the C library in amx-provoke-static"


def of_form(path: Path) -> Iterator[str]:
    """Of a bill of materials as CycloneDX's own schema has it."""
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    for name, content in Wheel.read(path).files.items():
        if "/sboms/" in name:
            error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(content.decode())
            if error is not None:
                yield f"{name}: {error}"


def of_sdist(path: Path, files: dict[str, bytes]) -> Iterator[str]:
    """Of the sources."""
    if path.stat().st_size > LARGEST:
        yield f"{path.stat().st_size / 2**20:.1f} MiB, and not {LARGEST / 2**20:.0f} at most"
    for name in (
        "LICENSE",
        "README.md",
        "PKG-INFO",
        "pyproject.toml",
        "csrc/CMakeLists.txt",
        "ci/wheels",
        "amx/__init__.py",
    ):
        if name not in files:
            yield f"{name} is missing"
    for name, content in files.items():
        elf = content.startswith(b"\x7fELF") and not name.startswith("tests/fuzz/corpus/")
        if elf or re.search(r"\.(so|o|a|pyc)$|(^|/)(__pycache__|build|dist|\.venv[^/]*)/", name):
            yield f"{name}: it is of a build"


def read_sdist(path: Path) -> dict[str, bytes]:
    """Its files, by names without the first directory."""
    with tarfile.open(path) as archive:
        members = [member for member in archive if member.isfile()]
        return {member.name.split("/", 1)[1]: archive.extractfile(member).read() for member in members}


def by_tools(path: Path) -> Iterator[str]:
    """What tools of others find: what PyPI refuses, what is not of the platform or the stable ABI."""
    yield from said("twine", "check", "--strict", path)
    if path.suffix != ".whl":
        return
    wheel = Wheel.read(path)
    yield from of_form(path)
    # W002: files that are there twice, as a licence is beside its data and among the licences.
    yield from said("check-wheel-contents", "--no-config", "--ignore", "W002", "--toplevel", "amx", path)
    if wheel.tags[1] == "abi3":
        yield from said("abi3audit", "--strict", path)
    elif wheel.tags[1] == "abi3t":  # which abi3audit does not find in names
        yield from said("abi3audit", "--strict", "--assume-minimum-abi3=3.15", path)
    shown = subprocess.run(
        [tool("auditwheel"), "show", "--json", path], capture_output=True, text=True, check=False
    )
    if shown.returncode:
        yield f"auditwheel show: {shown.stderr.strip()}"
        return
    policy = json.loads(shown.stdout)["overall_tag"]
    if policy not in wheel.tags[2].split("."):
        yield f"auditwheel finds it to be for {policy}, and its name says {wheel.tags[2]}"


def tool(name: str) -> str:
    """The program of that name in this environment."""
    return str(Path(sys.executable).with_name(name))


def said(name: str, *arguments: str | Path) -> Iterator[str]:
    """What a tool says, where it is not content."""
    done = subprocess.run([tool(name), *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        yield f"{name}: {(done.stdout + done.stderr).strip()}"


def table(paths: list[Path]) -> Iterator[str]:
    """Size, tags and sha256 of each."""
    yield f"{'KiB':>5}  {'Python and ABI':<18} {'sha256':<64}  name"
    for path in paths:
        tags = "-".join(path.stem.split("-")[-3:-1]) if path.suffix == ".whl" else "source"
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        yield f"{path.stat().st_size / 1024:5.0f}  {tags:<18} {digest}  {path.name}"


def main(*names: str) -> int:
    """0: no fault is found."""
    paths = sorted(map(Path, names))
    if not paths:
        raise SystemExit("ci/wheels.py: name the wheels and the sdist to look at")
    strange = [
        str(path) for path in paths if not path.is_file() or not path.name.endswith((".whl", ".tar.gz"))
    ]
    if strange:
        raise SystemExit(f"ci/wheels.py: no wheel or sdist: {', '.join(strange)}")
    sources = {path: read_sdist(path) for path in paths if path.name.endswith(".tar.gz")}
    sdist = next(iter(sources.values()), None)
    failed = False
    for path in paths:
        own = of_wheel(Wheel.read(path), sdist) if path.suffix == ".whl" else of_sdist(path, sources[path])
        for fault in [*own, *by_tools(path)]:
            failed = True
            print(f"{path.name}: {fault}", file=sys.stderr)
    print(*table(paths), sep="\n")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
