"""PTR: tile state through ptrace."""
