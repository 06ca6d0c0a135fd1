"""SRET: what sigreturn takes from a frame."""
