"""Parts of the page Admin: a tab each, and what they share."""
