"""Command line of the experiments: ``python -m fewbits.experiments <name> [options]``."""

import argparse
import importlib
import pkgutil
import shlex
import sys
from types import ModuleType

import fewbits.experiments
from fewbits import evidence


def names() -> list[str]:
    """The experiments: every folder of this package."""
    return sorted(module.name for module in pkgutil.iter_modules(fewbits.experiments.__path__) if module.ispkg)


def parsed(arguments: list[str]) -> tuple[ModuleType, argparse.Namespace]:
    """The experiment that a command line names, and its options; exits as argparse does where there is a mistake."""
    chooser = argparse.ArgumentParser(prog="python -m fewbits.experiments", add_help=False)
    chooser.add_argument("name", choices=names(), metavar="name", help=", ".join(names()))
    if not arguments or arguments[0].startswith("-"):
        chooser.print_help()
        sys.exit(0 if arguments and arguments[0] in ("-h", "--help") else 2)
    name = chooser.parse_args(arguments[:1]).name
    module = importlib.import_module(f"fewbits.experiments.{name}.run")
    parser = argparse.ArgumentParser(prog=f"python -m fewbits.experiments {name}", description=module.__doc__)
    module.add_arguments(parser)
    return module, parser.parse_args(arguments[1:])


def main(arguments: list[str] | None = None) -> None:
    """Run the experiment that the command line names."""
    arguments = sys.argv[1:] if arguments is None else arguments
    module, options = parsed(arguments)
    try:
        evidence.results_dir()
    except FileNotFoundError as error:  # known before hours of work are lost
        sys.exit(str(error))
    module.run(options, shlex.join(["python", "-m", "fewbits.experiments", *arguments]))


if __name__ == "__main__":
    main()
