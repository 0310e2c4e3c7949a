"""The installation as a whole: first start, examination, repair, tidying, backup, figures for Prometheus, and its machine."""
