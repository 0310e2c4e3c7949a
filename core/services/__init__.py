"""What is done and remembered, in rooms by what they do; docs/architecture.md says which room is above which."""
