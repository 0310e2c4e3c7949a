"""Continual ML: the life of a model after it ships. See docs/architecture.md for the map."""

__version__ = "0.1.0"
