"""``unrolled chat RUN``: a conversation with a trained model of dialogue, turn by turn."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclopts import App

from unrolled.cli import UsageError, complain, single
from unrolled.cli.predict import utf8_lines
from unrolled.errors import ConfigError, DataError, UnrolledError

if TYPE_CHECKING:
    from unrolled.tasks.dialogue_models import Manner
    from unrolled.tasks.dialogue_session import Conversation

_COMMANDS = "/reset, /save FILE, /quit; // begins a line that begins with /"


def command(arguments: Sequence[str] = ()) -> App:
    """The ``chat`` App."""
    return single(chat, "chat")


def chat(
    run: Path,
    /,
    *,
    state: Path | None = None,
    speaker: str = "",
    temperature: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int | None = None,
    beam_size: int = 0,
) -> int:
    """Talk with a trained model of dialogue, turn by turn.

    A line of yours is answered by a line of the model's, all that was said before in mind.
    /reset forgets what was said, /save FILE keeps the conversation for --state FILE, /quit ends; a line
    that is to begin with / begins with //. Without --temperature, --top-k or --top-p it says what is
    likeliest.

    Args:
        run: The run directory.
        state: Go on with a conversation that /save wrote.
        speaker: Whose part the model plays, of those seen in training.
        temperature: Draw replies: below 1 more likely, above 1 more varied ones; 1 with --top-k or --top-p.
        top_k: Draw each symbol among the k likeliest only.
        top_p: Draw among the likeliest symbols that hold this share of the probability, in (0, 1].
        seed: Equal seeds draw equal replies; 0, or with --state where it stopped, when absent.
        beam_size: Replies that a search follows together; 0 takes the model's usual.
    """
    drawing = not (temperature is None and top_k is None and top_p is None)
    finite = temperature is None or 0 <= temperature < float("inf")
    _require(finite, f"--temperature {temperature}: expected 0 or more")
    _require(top_k is None or top_k >= 1, f"--top-k {top_k}: expected 1 or more")
    _require(top_p is None or 0 < top_p <= 1, f"--top-p {top_p}: expected above 0, at most 1")
    _require(seed is None or 0 <= seed < 2**63, f"--seed {seed}: expected 0 to 2^63 - 1")
    _require(0 <= beam_size < 2**31, f"--beam-size {beam_size}: expected 0 to 2^31 - 1")
    _require(
        seed is None or drawing,
        "--seed is of drawn replies; give --temperature, --top-k or --top-p, too",
    )
    _require(
        not (drawing and beam_size),
        "--beam-size searches, and --temperature, --top-k and --top-p draw; give one or the other",
    )
    from unrolled import tasks

    trained: Any = tasks.load(run)
    if not hasattr(trained, "conversation"):
        raise ConfigError(f"{run}: this model holds no dialogue; use: unrolled predict {run}")
    draw = None
    if drawing:
        heat = 1.0 if temperature is None else temperature
        draw = {"temperature": heat, "top_k": top_k, "top_p": top_p}
    manner = trained.manner(beam_size=beam_size, draw=draw)
    conversation = trained.conversation(seed=seed or 0)
    if state is not None:
        conversation.load(state)
        if seed is not None:
            conversation.seed(seed)
    if speaker:
        conversation.play(speaker)
    return talk(conversation, manner)


def talk(conversation: Conversation, manner: Manner) -> int:
    """Answers lines of the standard input until it ends: with prompts on a terminal, else one by one.

    What cannot be done is said, and the conversation goes on; the exit code tells of it unless someone
    has read it at a terminal.
    """
    live = sys.stdin.isatty() and sys.stdout.isatty()
    code = 0
    if live:
        print(f"{_COMMANDS}. You are {conversation.asks}.", file=sys.stderr)
    for line in _prompted(conversation) if live else utf8_lines(sys.stdin.buffer):
        try:
            if not _answered(conversation, manner, line, live=live):
                break
        except UnrolledError as error:
            if live:
                print(error, file=sys.stderr)
            elif _is_command(line):
                complain(str(error))
                code = 1
            else:
                raise  # its answer would be missing
    return code


def _is_command(line: str) -> bool:
    return line.startswith("/") and not line.startswith("//")


def _answered(conversation: Conversation, manner: Manner, line: str, *, live: bool) -> bool:
    """Acts on a line; False at the end."""
    if not line.strip():
        if not live:
            print(flush=True)  # nothing was said, nothing is answered
        return True
    if _is_command(line):
        return _obeyed(conversation, line)
    conversation.hear(line.removeprefix("/") if line.startswith("//") else line)
    text = conversation.reply(manner).text
    print(f"{conversation.answers}: {text}" if live else text, flush=True)
    return True


def _obeyed(conversation: Conversation, line: str) -> bool:
    """Does what a command says; False to end."""
    name, _, rest = line.strip().partition(" ")
    if name == "/save" and rest.strip():
        conversation.save(rest.strip())
        print(f"saved: {rest.strip()}", file=sys.stderr)
    elif name == "/save":
        raise ConfigError("/save needs a file: /save FILE")
    elif name == "/reset" and not rest:
        conversation.reset()
        print("all that was said is forgotten", file=sys.stderr)
    elif name == "/quit" and not rest:
        return False
    else:
        raise ConfigError(f"{line.strip()!r:.60} is no command: expected {_COMMANDS}")
    return True


def _prompted(conversation: Conversation) -> Iterator[str]:
    """Lines typed at a terminal, which can be edited where there is readline."""
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  (input() then edits lines)
    while True:
        try:
            yield input(f"{conversation.asks}: ")
        except EOFError:
            print()
            return
        except KeyboardInterrupt:
            print()
            raise
        except UnicodeDecodeError:
            raise DataError("the line is not UTF-8; set the terminal to UTF-8") from None


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise UsageError(message)
