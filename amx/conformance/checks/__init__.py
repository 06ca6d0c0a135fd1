"""The groups of checks: what is done to the kernel, and what it must answer."""
