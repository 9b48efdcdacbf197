"""Pure functions on tensors and arrays: masks, response curves, pyramids, resampling, colour, encodings."""
