"""Tokenisers: texts to numbers and back, by character, by word, or by pieces of words."""

from netwright.data.texts.tokenizers.byte_pairs import BytePairTokenizer as BytePairTokenizer
from netwright.data.texts.tokenizers.byte_pairs import learn_byte_pairs as learn_byte_pairs
from netwright.data.texts.tokenizers.characters import CharacterTokenizer as CharacterTokenizer
from netwright.data.texts.tokenizers.characters import learn_characters as learn_characters
from netwright.data.texts.tokenizers.signs import is_unspaced as is_unspaced
from netwright.data.texts.tokenizers.stored import tokenizer_from as tokenizer_from
from netwright.data.texts.tokenizers.vocabulary import UNKNOWN_SIGN as UNKNOWN_SIGN
from netwright.data.texts.tokenizers.vocabulary import Text as Text
from netwright.data.texts.tokenizers.vocabulary import Tokenizer as Tokenizer
from netwright.data.texts.tokenizers.words import WordTokenizer as WordTokenizer
from netwright.data.texts.tokenizers.words import learn_words as learn_words
