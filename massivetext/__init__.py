"""The open MassiveText: raw text in, trained language model out."""

__version__ = "0.1.0"
