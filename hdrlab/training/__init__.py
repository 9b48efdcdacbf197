"""How a training is carried out: trainer, checkpoints, exact resume, guards, processes, loggers."""
