"""``python -m hdrlab.serve``."""

from hdrlab.serve import COMMAND

if __name__ == "__main__":
    COMMAND.main()
