"""The command line's door. It imports nothing heavy: help answers at once, and each command loads what it needs."""

import difflib
import importlib
import sys
from collections.abc import Sequence

from pushforward import __version__

HELP = """pushforward: train, measure and explain generative models.

usage: pushforward COMMAND …

  train RECIPE --data D   train a recipe on data into a run folder, measure it, write its report
  resume RUN              continue a run that was stopped or killed
  compare RECIPE… --data D   train each for the same time, measure, leave one page
  sample RUN              draw samples: a grid, files, or an .npz
  latent TOOL RUN         paths, arithmetic, projection, truncation, style mixing and directions, in pictures
  export RUN              its generator in a folder of its own: safetensors, ONNX, torch.export, with a model card
  push FOLDER REPO        send an exported generator to the Hugging Face hub (pull REPO: fetch one)
  evaluate WHAT [REAL]    measure a run, a folder of images or an .npz against real data
  evaluate A B --against REAL   which of two is nearer to the real data, and how sure that is
  statistics SET          keep the mean and covariance of a set's features in a file, to measure against
  judge WHAT [REAL]       people tell real images from generated ones, in a page served on this machine
  report RUN              write the run's report.html again
  lab NAME                an experiment in which the theory is seen to hold: a page of plots and numbers
  list                    recipes, data, metrics and experiments, with a line each

  pushforward COMMAND --help     the options of a command (pushforward train RECIPE --help: a recipe's too)
  pushforward --version

examples:
  pushforward train dcgan --data digits
  pushforward train r3gan --data ./my-images --resolution 32 --minutes 30
  pushforward sample runs/dcgan-digits -n 100 --out samples.npz
"""

COMMANDS = (
    "train",
    "resume",
    "compare",
    "sample",
    "latent",
    "export",
    "push",
    "pull",
    "evaluate",
    "statistics",
    "judge",
    "report",
    "lab",
    "list",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status: 0, 1 for a run that failed, 2 for a mistake, 130 for Ctrl-C."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(HELP, end="")
        return 0
    if arguments[0] == "--version":
        print(f"pushforward {__version__}")
        return 0
    if arguments[0] not in COMMANDS:
        near = difflib.get_close_matches(arguments[0], COMMANDS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"choose one of {', '.join(COMMANDS)}"
        return _fail(f"there is no command {arguments[0]!r}; {hint}", 2)
    try:
        home = {"resume": "train", "push": "export", "pull": "export"}.get(arguments[0], arguments[0])
        command = importlib.import_module(f"pushforward.commands.{home}")
        return getattr(command, f"do_{arguments[0]}")(arguments[1:])
    except KeyboardInterrupt:
        return _fail("stopped at once; what was saved before is whole", 130)
    except ValueError as error:
        return _fail(str(error), 2)
    except ArithmeticError as error:
        return _fail(str(error), 1)
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        return _fail(f"{error.strerror or error}{where}; what was saved before is whole", 1)


def _fail(message: str, status: int) -> int:
    print(f"pushforward: error: {' '.join(message.split())}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
