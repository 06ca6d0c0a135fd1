"""The tests that run in the guests of ci/zoo: which, how, and what the host does for them beforehand."""

import os
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
CHECKOUT = HERE.parents[1]
PYTHON = str(CHECKOUT / ".venv/bin/python")


def chosen() -> list[str]:
    """What ci/guest/tests lists, as arguments of pytest: the first word of each line."""
    lines = (HERE / "tests").read_text().splitlines()
    words = [line.split()[0] for line in lines if line.strip() and not line.startswith("#")]
    return [f"--deselect={word[1:]}" if word.startswith("-") else word for word in words]


@dataclass(frozen=True)
class Selection:
    """Arguments of pytest, and a folder for the objects that tests are linked of."""

    arguments: list[str]
    objects: Path

    def environment(self, objects: str) -> dict[str, str]:
        """Of the tests, in a guest and on the host; `objects` is the folder of compiling.py there."""
        return {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "CHECKOUT": str(CHECKOUT),
            "HOST_CC": os.environ.get("CC", "cc"),
            "CC": shlex.quote(str(HERE / "cc")),
            "HOST_OBJECTS": str(self.objects),
            "AMX_TEST_OBJECTS": objects,
            "AMX_BACKEND": "emulated",
        }

    @property
    def command(self) -> str:
        """The shell script of the guest."""
        options = ["-p", "no:cacheprovider", "-v"]
        words = [PYTHON, str(HERE / "session.py"), "/run/host/results", *options, *self.arguments]
        environment = self.environment("/run/objects")
        exports = [f"export {name}={shlex.quote(value)}" for name, value in environment.items()]
        link = ["mkdir $AMX_TEST_OBJECTS", 'ln -s "$HOST_OBJECTS"/*.o $AMX_TEST_OBJECTS', 'cd "$CHECKOUT"']
        return "\n".join([*exports, *link, f"exec {shlex.join(words)}\n"])

    def prepare(self) -> bool:
        """Do on the host what would take each guest minutes; whether tests and compiler work.

        pytest compiles the modules that it collects. csrc/trap/, which many link, is compiled on all CPUs.
        """
        environment = self.environment(str(self.objects))
        collect = [PYTHON, "-m", "pytest", "--collect-only", "-qq", *self.arguments]
        found = subprocess.run(
            collect, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False
        )
        if found.returncode:
            print(found.stdout + found.stderr)
            return False
        code = "import compiling; compiling.objects(compiling.TRAP)"  # whose processes share the work
        compilers = [
            subprocess.Popen([PYTHON, "-c", code], cwd=CHECKOUT / "tests/support", env=environment)
            for _ in os.sched_getaffinity(0)
        ]
        return [compiler.wait() for compiler in compilers] == [0] * len(compilers)
