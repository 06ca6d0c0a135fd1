"""PERM: asking for permission."""
