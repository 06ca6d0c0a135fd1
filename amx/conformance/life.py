"""LIFE: the life of the buffer that holds tile data."""
