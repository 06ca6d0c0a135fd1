"""FAULT: faults of tile instructions."""
