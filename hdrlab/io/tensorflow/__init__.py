"""What TensorFlow writes, read without TensorFlow: checkpoints and record files."""
