"""Parts of the page Performance."""
