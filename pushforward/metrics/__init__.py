"""Pure functions of features or points that say how close two samples are, and how sure one may be of it."""
