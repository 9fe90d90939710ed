"""The command line: a literal table of commands, and the one place where errors become exit codes.

Exit codes: 0 done; 1 an :class:`~unrolled.errors.UnrolledError` (one line on stderr, the traceback
only with ``--debug``); 2 usage; 128 + n after signal n, that is 130 for Ctrl-C, 143 for SIGTERM and
141 for a reader that went away. Results go to stdout, everything else to stderr, both UTF-8.
A module of this room imports torch, tasks and models only inside its functions.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import io
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from cyclopts import App, CycloptsError, MissingArgumentError

from unrolled import __version__
from unrolled.errors import UnrolledError


class Command(NamedTuple):
    """A row of the table: "module:function", which takes the arguments after the name, and a summary."""

    target: str
    summary: str


COMMANDS: dict[str, Command] = {
    "train": Command(
        "unrolled.cli.train:command",
        "Train a model, or continue where the same command was interrupted.",
    ),
    "evaluate": Command(
        "unrolled.cli.evaluate:command",
        "Measure a trained model on its test data, or on a file of yours.",
    ),
    "predict": Command(
        "unrolled.cli.predict:command",
        "Predict for each line of the standard input, or of a file.",
    ),
    "generate": Command(
        "unrolled.cli.generate:command",
        "Draw text from a trained language model; the prompt is printed before it.",
    ),
    "chat": Command(
        "unrolled.cli.chat:command",
        "Talk with a trained model of dialogue, turn by turn.",
    ),
    "score": Command(
        "unrolled.cli.score:command",
        "Give the log-probability, in nats, of each given output.",
    ),
    "rerank": Command(
        "unrolled.cli.rerank:command",
        "Choose the best of each n-best list by weighted features, or tune the weights.",
    ),
    "rescore": Command(
        "unrolled.cli.rescore:command",
        "Print the best reading of each lattice by a trained model, or the n best.",
    ),
    "average": Command(
        "unrolled.cli.average:command",
        "Write a run whose weights are the mean of the checkpoints that another has kept.",
    ),
    "compare-outputs": Command(
        "unrolled.cli.compare_outputs:command",
        "Score one or two files of answers against the truth, and say whether the two differ.",
    ),
    "demo": Command(
        "unrolled.cli.demo:command",
        "Train a character language model in three minutes, see it win and write a page.",
    ),
    "info": Command(
        "unrolled.cli.info:command",
        "Show versions, instruction set, threads, executors, extras, and a comparison with torch.nn.",
    ),
}

_EPILOGUE = """\
unrolled COMMAND --help explains a command; with --debug an error shows its traceback.
Begin with: unrolled demo"""


class UsageError(Exception):
    """A command line that cannot be understood; exit code 2."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line.

    Args:
        arguments: What follows the program's name; that of the process when None.

    Returns:
        The exit code.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    try:
        with _surroundings():
            return _run(arguments)
    except BrokenPipeError:
        # Python would complain once more when it flushes stdout at its end.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except KeyboardInterrupt:
        print("unrolled: interrupted", file=sys.stderr)
        return 128 + signal.SIGINT
    except UsageError as error:
        complain(str(error))
        return 2
    except Exception as error:
        if debug:
            import traceback

            traceback.print_exc()
        complain(_one_line(error))
        return 1


def assemble(arguments: Sequence[str] = ()) -> App:
    """The whole program as a cyclopts App, with the options that these arguments need.

    Args:
        arguments: The command line. Only the command that it names is loaded, of the others there is
            the summary; which options ``train`` has depends on its task and model.
    """
    app = App(
        name="unrolled",
        help="Recurrent networks, unrolled: train, evaluate and use them on sequences.",
        help_epilogue=_EPILOGUE,
        help_format="plaintext",
        version=__version__,
    )
    for order, (name, (target, summary)) in enumerate(COMMANDS.items()):
        command = App(name=name, help=summary)
        if list(arguments[:1]) == [name]:
            build: Callable[[Sequence[str]], App] = resolve(target)
            command = build(arguments[1:])
        command.help_epilogue, command.sort_key = "", order
        app.command(command)
    return app


def resolve(target: str) -> Any:
    """What a row of a literal table, ``"module:name"``, stands for; imports the module."""
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)


def single(function: Callable[..., int], name: str) -> App:
    """The App of a command that is one function: its signature and docstring are its options."""
    text = unfolded(function.__doc__ or "")
    function.__doc__ = text  # the help breaks lines by the width of the terminal
    app = App(name=name, help=text.split("\n\n")[0])
    app.default(function)
    return app


def unfolded(docstring: str) -> str:
    """A docstring with each paragraph, and what it says of each argument, in a line of its own.

    >>> unfolded("Do\\n    it.\\n\\n    Args:\\n        a: One\\n            thing.")
    'Do it.\\n\\nArgs:\\n    a: One thing.'
    """
    return re.sub(r"(?<=[^\n:])\n(?:(?=\S)| {8,})", " ", inspect.cleandoc(docstring))


def _run(arguments: list[str]) -> int:
    """Parse and call. Every complaint of the parser is a usage error."""
    for argument in arguments:
        if any(0xD800 <= ord(character) < 0xE000 for character in argument):
            raise UsageError(f"argument {argument!r} is not UTF-8")
    app = assemble(arguments)
    try:
        function, bound, _ = app.parse_args(arguments, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        error.verbose = False
        chain = [part for part in error.command_chain or () if not part.startswith("-")]
        message = " ".join(str(error).split())
        if isinstance(error, MissingArgumentError) and error.keyword is None:  # not given at all
            message = message.replace("requires an argument", "is missing", 1)
        raise UsageError(f"{message} See: {' '.join(['unrolled', *chain, '--help'])}") from None
    result: Any = function(*bound.args, **bound.kwargs)
    sys.stdout.flush()
    return result if isinstance(result, int) else 0


@contextlib.contextmanager
def _surroundings() -> Iterator[None]:
    """UTF-8 on the standard streams and an orderly end on SIGTERM, while a command runs."""
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115 (closed by the shell: >&-)
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    sys.stdin = sys.stdin or open(os.devnull)  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            errors = "strict" if stream is sys.stdout else "backslashreplace"
            stream.reconfigure(encoding="utf-8", errors=errors)
    try:
        before = signal.signal(signal.SIGTERM, _terminated)
    except ValueError:  # not the main thread: signals are somebody else's
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminated(number: int, frame: object) -> None:
    raise SystemExit(128 + number)


def _one_line(error: Exception) -> str:
    """What a user is told; anything but our own errors and the system's is a defect of ours."""
    text = " ".join(str(error).split())
    if isinstance(error, UnrolledError):
        return text
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if isinstance(error, MemoryError):
        return f"not enough memory ({text or 'none is left'}); ask for less at once"
    return f"{type(error).__name__}: {text} (a defect of unrolled; --debug shows where)"


def complain(message: str) -> None:
    """Says on the standard error what went wrong."""
    with contextlib.suppress(OSError):
        print(f"unrolled: error: {message}", file=sys.stderr)
