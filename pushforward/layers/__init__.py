"""Parts of networks with two users or more."""
