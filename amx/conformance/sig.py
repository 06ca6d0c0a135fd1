"""SIG: the signal frame."""
