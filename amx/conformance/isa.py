"""ISA: what instructions do to user-space buffers."""
