"""The command `xfelred`: its options, its exit codes, where its words go."""

from __future__ import annotations

import atexit
import gc
import io
import logging
import sys
import warnings
from collections.abc import Sequence

import click

from xfelred import __version__
from xfelred.cli.check import check
from xfelred.cli.cluster import cluster
from xfelred.cli.config import config
from xfelred.cli.cube import cube
from xfelred.cli.dark import dark
from xfelred.cli.demo import demo
from xfelred.cli.info import info
from xfelred.cli.reduce import reduce
from xfelred.cli.report import report
from xfelred.cli.warm_up import warm_up
from xfelred.cli.words import show_warning, tell
from xfelred.errors import ConfigError, SelectionEmptyError, XfelredError

OK, FAILED, USAGE, EMPTY = 0, 1, 2, 3  # as the epilog says


@click.group(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 ok, 1 failed, 2 wrong usage or recipe, 3 nothing selected.",
)
@click.version_option(__version__, prog_name="xfelred")
@click.option("--verbose", is_flag=True, help="Say on stderr what happens.")
def command(verbose: bool) -> None:
    """Lazy labelled arrays for X-ray free-electron-laser data."""
    level = logging.INFO if verbose else logging.WARNING
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s")


for one in (info, check, dark, cube, reduce, report, config, demo, cluster, warm_up):
    command.add_command(one)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit; errors of users and of data have no traceback."""
    # To take all modules apart at the end takes longer than many a command.
    atexit.register(gc.freeze)
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    try:
        with warnings.catch_warnings():
            # They are about the data: shown whatever filters Python was started with.
            warnings.simplefilter("default", UserWarning)
            warnings.showwarning = show_warning
            # In its own mode click would exit with its own codes.
            result = command.main(arguments, prog_name="xfelred", standalone_mode=False)
    except click.ClickException as error:
        text = io.StringIO()
        error.show(text)
        tell(text.getvalue(), err=True, nl=False)
        return USAGE if isinstance(error, click.UsageError) else FAILED
    except (click.Abort, KeyboardInterrupt):
        tell("interrupted", err=True)
        return FAILED
    except (XfelredError, OSError) as error:
        tell(f"{type(error).__name__}: {error}", err=True)
        if isinstance(error, ConfigError):
            return USAGE
        return EMPTY if isinstance(error, SelectionEmptyError) else FAILED
    # Click hands over the code of --help and --version as an integer.
    return result if isinstance(result, int) else OK


if __name__ == "__main__":
    main()
