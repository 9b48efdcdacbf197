"""Methods compared on the same images: who takes part, what is measured, and how sure the result is."""
