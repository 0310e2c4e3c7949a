"""Rows and labels come in: files, frames, the sealed log, labels that arrive later, and rows that a person is asked to label."""
