"""The keys of the configuration: names, types, limits, meanings and defaults, a class a section."""
