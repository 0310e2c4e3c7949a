"""Parts of the page Automation."""
