"""CORE: tile state in core dumps."""
