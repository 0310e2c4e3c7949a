"""Whether the installation is healthy, and who is notified if not: health, messages, and their channels."""
