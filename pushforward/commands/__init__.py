"""The commands, a file each: it takes its words, does its work and returns an exit status."""
