"""What pages are put together of, a module each; imported through `core.ui`."""
