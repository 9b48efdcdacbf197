"""What the published programs make of seeded random weights, and hdrlab's nets beside it: ``make parity``."""
