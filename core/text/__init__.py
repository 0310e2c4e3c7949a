"""What is said to people. Pure: from records and keys to words."""
