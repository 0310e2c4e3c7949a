"""Projects: created, looked up, renamed, paused, exported, deleted; the streams they play, and counts of their stored data."""
