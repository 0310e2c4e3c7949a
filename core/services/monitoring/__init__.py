"""Monitoring of model and data: windows, drift, scores with and without labels, label arrival, and reports."""
