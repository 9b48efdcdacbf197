"""Sweeps: one command line that stands for several trainings, chosen, carried out and compared.

Every job is a command of its own, ``python -m hdrlab.train …``: it may use several devices, may crash or run
out of memory without harm to the others, and finds its run folder again when it is called once more. Imports
no torch.
"""
