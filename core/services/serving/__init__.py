"""The champion answers: loaded, asked, guarded, explained; and the log of what it answered."""
