"""The arguments of every command, and their check. Imports no torch."""
