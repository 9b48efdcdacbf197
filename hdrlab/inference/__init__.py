"""Trained nets put to use on files: loading, batches of images, and what is written."""
