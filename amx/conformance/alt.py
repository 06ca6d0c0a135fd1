"""ALT: alternate signal stacks."""
