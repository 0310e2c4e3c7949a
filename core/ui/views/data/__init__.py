"""The parts of the Data page: what is stored, and the ways in which rows, labels and projects come in."""
