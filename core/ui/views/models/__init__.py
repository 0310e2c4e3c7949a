"""The parts of the Models page: which version serves and served, where it comes from, and whether another one is better."""
