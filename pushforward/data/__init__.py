"""Data sets: laws of the plane, embedded images, and folders, archives and arrays of your own."""
