"""Methods compared on the same pictures: who takes part, what is measured, and how sure the result is."""
