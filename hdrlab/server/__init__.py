"""A page to drop photographs on, which `hdrlab serve` opens: what is below it, by address."""
