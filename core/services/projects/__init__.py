"""Projects themselves: made, found, renamed, paused, exported, deleted; the streams they play, and what is stored of them."""
