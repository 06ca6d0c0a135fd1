"""Which release this is: below everything, for whoever writes it into a report."""

__all__ = ["__version__"]

__version__ = "0.2.0"
