"""Whether the installation is well, and who is told when it is not: health, messages, and the channels that carry them."""
