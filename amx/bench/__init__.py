"""`amx bench`: the machine's own ceiling, our kernels against it, and our calls against other libraries'.

Everything runs in one process, interleaved, on dense non-zero data, and every output is compared.
docs/performance.md says how to read the figures.
"""
