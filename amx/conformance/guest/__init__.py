"""Runs in a guest, or anywhere else: its log is read and judged here."""
