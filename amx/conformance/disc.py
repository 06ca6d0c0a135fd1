"""DISC: discovery, and what the interface does not offer."""
