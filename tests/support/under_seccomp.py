"""Run Python code under a real seccomp filter on arch_prctl: `under_seccomp.py ACTION OPERATIONS CODE`.

ACTION: errno=N, trap, kill, or listen (a supervisor that never answers).
OPERATIONS: numbers of arch_prctl operations, separated by commas.
"""

import ctypes
import struct
import sys

PR_SET_NO_NEW_PRIVS = 38
SYS_SECCOMP = 317
SYS_ARCH_PRCTL = 158
SECCOMP_SET_MODE_FILTER = 1
SECCOMP_FILTER_FLAG_NEW_LISTENER = 8
ACTIONS = {"errno": 0x0005_0000, "trap": 0x0003_0000, "kill": 0x8000_0000, "listen": 0x7FC0_0000}
ALLOW = 0x7FFF_0000
# Classic BPF over struct seccomp_data: load a 32-bit word, jump if equal, return.
LOAD, JUMP_EQUAL, RETURN = 0x20, 0x15, 0x06
OFFSET_NR, OFFSET_ARG0 = 0, 16


class SockFprog(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


def install(action, operations):
    """Install the filter for this process and its children; the listener's descriptor where there is one."""
    name, _, number = action.partition("=")
    answer = ACTIONS[name] | int(number or 0)
    count = len(operations)
    program = [(LOAD, 0, 0, OFFSET_NR), (JUMP_EQUAL, 0, count + 1, SYS_ARCH_PRCTL), (LOAD, 0, 0, OFFSET_ARG0)]
    program += [(JUMP_EQUAL, count - index, 0, operation) for index, operation in enumerate(operations)]
    program += [(RETURN, 0, 0, ALLOW), (RETURN, 0, 0, answer)]
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(code)
    prog = SockFprog(len(program), ctypes.cast(buffer, ctypes.c_void_p))
    flags = SECCOMP_FILTER_FLAG_NEW_LISTENER if name == "listen" else 0
    assert libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    result = libc.syscall(SYS_SECCOMP, SECCOMP_SET_MODE_FILTER, flags, ctypes.byref(prog))
    assert result >= 0, ctypes.get_errno()
    return result


if __name__ == "__main__":
    action, operations, code = sys.argv[1:]
    install(action, [int(operation, 0) for operation in operations.split(",")])
    exec(compile(code, "<code>", "exec"), {"__name__": "__main__"})
