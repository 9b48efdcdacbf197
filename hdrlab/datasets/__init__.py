"""Data sets: from pictures on disk, or rendered by our own code, to training samples."""
