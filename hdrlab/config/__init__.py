"""What a command may be told, and the check of what it was told. Imports no torch."""
