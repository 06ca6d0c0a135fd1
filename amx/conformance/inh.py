"""INH: what a new process, thread or program inherits."""
