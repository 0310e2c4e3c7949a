"""Texts for people. Pure: from records and keys to words."""
