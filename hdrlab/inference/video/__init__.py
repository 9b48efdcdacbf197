"""Moving pictures: clips and sequences of frames in and out, shots, and what keeps them steady."""
