"""Fuzzing of everything that the package reads: ``make fuzz MINUTES=…``.

Valid files of every format (`seeds`) are damaged with their structure in mind (`mutations`) and read
(`readers`) in a process with limits of memory and time (`worker`). What comes out wrong is kept.
"""
