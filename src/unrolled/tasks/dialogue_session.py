"""A conversation that goes on: what was heard is kept in a memory, which can be saved and gone on from.

The memory of a model that goes through symbols is its recurrent state after the last turn; nothing of the
past is read again, however long the conversation. Saved is one safetensors file: the tensors of the
memory and of the random numbers, and in its header as JSON who speaks and what of the text is needed.
"""

from __future__ import annotations

import json
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from unrolled.data.atomic import replacing
from unrolled.data.dialogues import Turn
from unrolled.errors import RunError
from unrolled.tasks.dialogue_data import Cast
from unrolled.tasks.dialogue_models import Manner, Reply, Talker

FORMAT = "unrolled-conversation-1"
_DRAWS = "generator"


class Conversation:
    """One dialogue with a trained model.

    Args:
        talker: the model.
        cast: who there is.
        model: what tells this model from others: a digest.
        speaker: who answers; the run's usual one when empty.
        seed: of the replies that are drawn.

    Attributes:
        answers: the model's part. asks: yours.
        heard: turns up to now, both sides'.
    """

    def __init__(
        self, talker: Talker, cast: Cast, *, model: str, speaker: str = "", seed: int = 0
    ) -> None:
        self._talker, self._cast, self._model = talker, cast, model
        self.answers, self.asks = cast.answers, cast.asks
        if speaker:
            self.play(speaker)
        self._generator = torch.Generator().manual_seed(seed)
        self._memory = talker.begin()
        self.heard = 0

    def play(self, speaker: str) -> None:
        """From now on the model answers as this speaker.

        Raises:
            ConfigError: nobody in training was called so.
        """
        self.answers = self._cast.known(speaker, "--speaker")
        self.asks = self._cast.asks if speaker != self._cast.asks else self._cast.answers

    def seed(self, seed: int) -> None:
        """The replies drawn from now on follow from this seed."""
        self._generator.manual_seed(seed)

    def hear(self, text: str, speaker: str = "") -> None:
        """A turn of yours, or of anybody who is known.

        Raises:
            ConfigError: nobody in training was called so.
        """
        who = self._cast.known(speaker, "speaker") if speaker else self.asks
        self._memory = self._talker.hear(self._memory, (Turn(who, text),))
        self.heard += 1

    def reply(self, manner: Manner | None = None) -> Reply:
        """What the model says next; it is part of the conversation from then on."""
        manner = manner or Manner()
        best = self._talker.answer(self._memory, self.answers, manner, self._generator)[0]
        self._memory = self._talker.hear(self._memory, (Turn(self.answers, best.text),))
        self.heard += 1
        return best

    def reset(self) -> None:
        """Forgets what was said; the parts and the random numbers go on."""
        self._memory, self.heard = self._talker.begin(), 0

    def save(self, path: str | PathLike[str]) -> None:
        """Writes the conversation to a file, which is there whole or not at all.

        Raises:
            RunError: the place cannot be written.
        """
        content = {
            "model": self._model,
            "answers": self.answers,
            "asks": self.asks,
            "heard": self.heard,
            "turns": [[turn.speaker, turn.text] for turn in self._talker.turns(self._memory)],
        }
        tensors = {**self._talker.tensors(self._memory), _DRAWS: self._generator.get_state()}
        header = {"format": FORMAT, "conversation": json.dumps(content)}
        with replacing(path) as file:
            file.write(save(tensors, header))

    def load(self, path: str | PathLike[str]) -> None:
        """Goes on from a conversation that :meth:`save` wrote, to the bit.

        Raises:
            RunError: the file is missing, damaged, or of another model.
        """
        content, tensors = _opened(Path(path))
        try:
            if content["model"] != self._model:
                raise RunError(
                    f"{path}: a conversation with another model; go on with the run that began it"
                )
            turns = tuple(Turn(speaker, text) for speaker, text in content["turns"])
            parts = [self._cast.known(str(content[name]), name) for name in ("answers", "asks")]
            heard = int(content["heard"])
            generator = torch.Generator()
            generator.set_state(tensors.pop(_DRAWS))
            memory = self._talker.restore(tensors, turns)
        except RunError:
            raise
        except (ValueError, KeyError, TypeError, RuntimeError, OverflowError) as error:
            raise RunError(f"{path}: damaged: {' '.join(str(error).split())}") from error
        self._memory, self._generator, self.heard = memory, generator, heard
        self.answers, self.asks = parts


def _opened(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    try:
        with safe_open(path, "pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise RunError(f"{path}: no such file; /save FILE in a chat writes one") from None
    except (OSError, SafetensorError) as error:
        raise RunError(f"{path}: not a whole file of a conversation ({error})") from error
    if header.get("format") != FORMAT:
        raise RunError(f"{path}: no conversation of this program; /save FILE in a chat writes one")
    try:
        content = json.loads(header["conversation"])
    except (KeyError, ValueError, RecursionError) as error:
        raise RunError(f"{path}: damaged: no JSON in its header") from error
    if not isinstance(content, dict):
        raise RunError(f"{path}: damaged: no JSON object in its header")
    return content, tensors
