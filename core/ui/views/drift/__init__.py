"""Parts of the page Drift."""
