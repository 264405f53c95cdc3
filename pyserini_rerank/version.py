"""The version of the package, which its files of results name."""

__version__ = "0.1.0"
