"""The installation as a whole: first start, checks, repair, clean-up, backup, Prometheus metrics, and the hosting machine."""
