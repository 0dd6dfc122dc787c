"""Tokenisers out of a run: the inverse of their `state()`."""

from typing import Any

from netwright.data.texts.tokenizers.byte_pairs import BytePairTokenizer
from netwright.data.texts.tokenizers.characters import CharacterTokenizer
from netwright.data.texts.tokenizers.vocabulary import Tokenizer
from netwright.data.texts.tokenizers.words import WordTokenizer
from netwright.errors import DataError
from netwright.language import say


def tokenizer_from(state: Any) -> Tokenizer:
    """The tokeniser that `state` describes (the inverse of `.state()`). Errors: DataError when it is damaged."""
    kinds: dict[str, Any] = {
        "character": CharacterTokenizer,
        "word": WordTokenizer,
        "bpe": BytePairTokenizer,
    }
    try:
        found: Tokenizer = kinds[state["kind"]].from_state(state)
        return found
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        raise DataError(say("the stored tokens are damaged or of another version")) from None
