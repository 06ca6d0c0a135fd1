"""XS: the other extended components."""
