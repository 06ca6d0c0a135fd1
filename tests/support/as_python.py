"""What `python -c CODE` or `python SCRIPT` does, for a `python -m MODULE` that prepares something first."""

import runpy
import sys


def run():
    """What sys.argv has behind the module's own name."""
    if sys.argv[1] == "-c":
        code, sys.argv[:] = sys.argv[2], ["-c", *sys.argv[3:]]
        exec(compile(code, "-c", "exec"), {"__name__": "__main__"})
    else:
        del sys.argv[0]
        runpy.run_path(sys.argv[0], run_name="__main__")
