"""CTX: tile state over context switches."""
