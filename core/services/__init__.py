"""What is done and remembered, in packages by what they do; docs/architecture.md says which package is above which."""
