"""A real seccomp filter on one operation of arch_prctl fails exactly the rows that it breaks.

None of them is an error of the harness. What the filter does to rows that need AMX is seen where there is
AMX: on the native lane of this machine.
"""

import errno
import functools
import json

import children
import machines
import pytest

from amx import xstate
from amx.conformance import environment, provoke
from amx.conformance.groups import checks
from amx.lane import Lane

try:
    provoke.program()
except FileNotFoundError as missing:
    pytest.skip(str(missing), allow_module_level=True)

RUN = """
import json
from amx.conformance import environment
from amx.conformance.groups import checks
from amx.conformance.runner import Runner
runner = Runner(environment.read(model=False))
made = [runner.result(check) for check in checks()]
print(json.dumps([[made.check.id, made.verdict.name, made.reason] for made in made]))
"""
LIES, DENIES = "errno=0", f"errno={errno.EPERM}"
# Without AMX and with it. A filter that denies what AMX is asked for takes it away: then nothing needs it.
BREAKS = {
    (LIES, "0x1021"): ("DISC-01 DISC-02", "DISC-01 DISC-02 DISC-07"),
    (LIES, "0x1022"): ("DISC-02 PERM-01", "DISC-02 PERM-01"),
    (LIES, "0x1023"): ("PERM-03", "PERM-02 PERM-03"),
    (LIES, "0x1024"): ("DISC-02", "DISC-02 KVM-01"),
    (LIES, "0x1025"): ("", "KVM-01"),
    (DENIES, "0x1021"): ("DISC-01 DISC-02 DISC-07", "DISC-01 DISC-02 DISC-07"),
    (DENIES, "0x1022"): ("DISC-02 PERM-01", "DISC-02 PERM-01"),
    (DENIES, "0x1023"): ("PERM-03", "PERM-03"),
    (DENIES, "0x1024"): ("DISC-02", "DISC-02"),
    (DENIES, "0x1025"): ("", "KVM-01"),
}


def run(*arguments):
    """Verdict and reason of each row, by id."""
    result = children.run_python(*arguments, RUN)
    assert children.how_it_ended(result) == 0, result.stderr
    return {id: (verdict, reason) for id, verdict, reason in json.loads(result.stdout)}


def under(action, operation):
    return run(children.SUPPORT / "under_seccomp.py", action, operation)


@functools.cache
def not_here():
    """The rows that this machine cannot have, filtered or not."""
    return {id for id, (verdict, _) in run("-c").items() if verdict == "SKIP"}


@pytest.mark.parametrize("native", [False, True], ids=["without AMX", "native"])
@pytest.mark.parametrize(("action", "operation"), BREAKS)
def test_a_filter_fails_exactly_the_rows_that_it_breaks(action, operation, native):
    place = environment.read(model=False)
    if (place.lane is Lane.NATIVE) is not native:
        cause = place.diagnosis.cause
        pytest.skip(cause.words if cause else "this machine has AMX")
    if not machines.kernel_knows_permissions():
        pytest.skip("a kernel before 5.16 answers none of the operations")
    made = under(action, operation)
    failed = {id for id, (verdict, _) in made.items() if verdict == "FAIL"}
    broken = set(BREAKS[action, operation][native].split()) - not_here()
    if action == LIES and xstate.xcr0() is None:  # nothing to compare the mask of a lie with
        broken.discard("DISC-01")
    assert failed == broken
    assert {id: result for id, result in made.items() if result[0] == "ERROR"} == {}


def test_all_rows_are_looked_at():
    assert set(under(LIES, "0x1025")) == {check.id for check in checks()}
