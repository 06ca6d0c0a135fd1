"""The conformance suite: does this machine, kernel, hypervisor or sandbox keep the AMX ABI.

`amx check`, or `pytest --pyargs amx.conformance`. A check is one row of the catalogue: a provocation in C
(`amx-provoke run ID`, in a process of its own) and a judgement in Python over what was seen. One module a
group; `check.py` says what a check is, `runner.py` runs them, `report/` writes the results.
"""
