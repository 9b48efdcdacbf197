"""All commands under one name: ``hdrlab tonemap a.exr`` is ``python -m hdrlab.tonemap a.exr``."""

from __future__ import annotations

import runpy
import sys
from typing import NoReturn

from hdrlab.config.completion import SHELLS, candidates, script
from hdrlab.config.schema.section import nearest
from hdrlab.errors import __version__, end_interrupted

COMMANDS = {
    "reconstruct": "turn photographs into HDR images",
    "tonemap": "turn HDR images into SDR images, for any display",
    "serve": "open a page to drop photographs and HDR files on",
    "evaluate": "score nets on images they never saw, beside classical methods and other programs",
    "train": "train one stage of an HDR system",
    "runs": "list trainings and what they published",
    "prepare": "check a folder of HDR images and write an index and fast files",
    "synthesize": "photograph HDR images with the camera model",
    "reproduce": "carry out a paper's chain of trainings and score it",
    "import_weights": "turn published TensorFlow weights into files that hdrlab loads",
    "export": "write nets for other programs: ONNX, torch.export, safetensors",
    "weights": "list the weights that come along and verify them",
    "doctor": "say what is installed, which formats and processors work, and what is missing for what",
}
"""What each does, in order of use."""

INSIDE = {"doctor": "inference.doctor"}
"""Commands that are no module of that name."""

HELP = f"""Photographs to HDR images, HDR images to displays, and the trainings of both.

usage: hdrlab COMMAND ...

{"".join(f"  {name:<15} {summary}" + chr(10) for name, summary in COMMANDS.items())}
  hdrlab COMMAND --help       what it takes
  hdrlab --version
  hdrlab completion SHELL     a script that completes commands and keys in {", ".join(SHELLS)}

examples
  hdrlab reconstruct photo.jpg
  hdrlab tonemap scene.exr 'operator=[reinhard,drago]' sheet=true
"""


def main() -> NoReturn:
    """Carry out the command that the first argument names, as ``python -m`` does."""
    name, arguments = "".join(sys.argv[1:2]), sys.argv[2:]
    command = name.replace("-", "_")
    if command in COMMANDS:
        # Lightning starts further processes, and Hydra names the job, by the module that runs.
        sys.argv[1:] = arguments
        try:
            runpy.run_module(f"hdrlab.{INSIDE.get(command, command)}", run_name="__main__", alter_sys=True)
        except KeyboardInterrupt:  # while the command's own modules are loaded
            end_interrupted()
        raise SystemExit(0)
    if name in ("", "-h", "--help", "help"):
        print(HELP, end="")
    elif name in ("--version", "-V"):
        print(f"hdrlab {__version__}")
    elif name == "completion" and arguments in [[shell] for shell in SHELLS]:
        print(script(arguments[0]), end="")
    elif name == "completion":
        print(f"error: completion: name one shell: {' | '.join(SHELLS)}", file=sys.stderr)
        raise SystemExit(2)
    elif name == "--complete":
        print(*candidates(" ".join(arguments), COMMANDS), sep="\n")
    else:
        hint = nearest(name, COMMANDS) or "; hdrlab --help lists them"
        print(f"error: {name}: no such command{hint}", file=sys.stderr)
        raise SystemExit(2)
    raise SystemExit(0)


if __name__ == "__main__":
    main()
