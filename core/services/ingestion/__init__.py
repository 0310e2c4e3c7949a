"""Ingestion of rows and labels: files, frames, the sealed prediction log, late labels, and the labelling queue."""
