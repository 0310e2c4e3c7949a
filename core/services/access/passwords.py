"""Which passwords are accepted: long enough to resist guessing, short enough to hash, and not a common one.

Nothing is sent over the network. A password is split into the parts that guessing programs know (common words, names,
keyboard runs, years, repetitions); the number of parts counts. The words are in `common_passwords.txt`, one per line.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

from core.errors import BadInput
from core.settings import MIN_PASSWORD

MAX_PASSWORD = 72  # bytes: bcrypt ignores the rest
HELP = f"At least {MIN_PASSWORD} characters, at most {MAX_PASSWORD} bytes, and not a common word with a few characters added. Four unrelated words work well."

_FEWEST_PARTS = 4  # parts that an attacker has to guess
_FEWEST_WITH_NAME = 7  # if the person's name is among them
_REPEATED = re.compile(r"(.{1,6}?)\1+")
_LEET = {"0": "o", "1": "i", "3": "e", "4": "a", "5": "s", "7": "t", "8": "b", "@": "a", "$": "s", "!": "i", "|": "l"}
_ROWS = (
    "abcdefghijklmnopqrstuvwxyz", "01234567890", "qwertyuiop", "qwertzuiop", "asdfghjkl", "zxcvbnm", "yxcvbnm", "azertyuiop", "qsdfghjklm",
    "!@#$%^&*()", "1q2w3e4r5t6y7u8i9o0p", "1qaz2wsx3edc4rfv5tgb6yhn7ujm",
)  # fmt: skip
_YEAR = re.compile(r"(?:19|20)\d\d")
_LONGEST_WORD = 40


def refuse_weak(password: str, name: str) -> None:
    """Refuse a new password that cannot be stored or is easy to guess.

    Args:
        name: the person's, which must not make up the password.

    Raises:
        BadInput: with what to choose instead; the password is not repeated.
    """
    if len(password) < MIN_PASSWORD:
        raise BadInput(
            f"The password has {len(password)} characters, expected at least {MIN_PASSWORD}. "
            "Four unrelated words are easy to remember and long enough."
        )
    size = len(password.encode(errors="replace"))
    if size > MAX_PASSWORD:
        raise BadInput(f"The password has {size} bytes, expected at most {MAX_PASSWORD}. Choose a shorter one.")
    if "\0" in password or not password.isprintable():
        raise BadInput(
            "The password contains a control character, expected letters, digits, punctuation and spaces. Choose another one."
        )
    own = any(word in _unleet(password.casefold()) for word in _words_of(name))
    if parts(password, name) < (_FEWEST_WITH_NAME if own else _FEWEST_PARTS):
        raise BadInput(
            "The password is too easy to guess: it consists of common words, names, years or keyboard rows. "
            "Choose four unrelated words, or have one generated."
        )


def is_weak(password: str, name: str) -> bool:
    """Whether an existing password would be refused as a new one."""
    try:
        refuse_weak(password, name)
    except BadInput:
        return True
    return False


def parts(password: str, name: str) -> int:
    """The smallest number of parts that make up a password; each known word, sequence, year or repetition counts as one.

    So do up to eight digits or symbols at the end, and one piece repeated, which people use where a rule requires
    more. Case is ignored, and a digit or symbol that replaces a letter counts as that letter (`P4$$w0rd`).
    """
    text = password.casefold()
    folded = _unleet(text)
    if _REPEATED.fullmatch(text):
        return 1
    words = _common() | _words_of(name)
    least = [0] * (len(text) + 1)
    for end in range(1, len(text) + 1):
        least[end] = least[end - 1] + 1
        for start in range(max(end - _LONGEST_WORD, 0), end - 2):
            piece = text[start:end]
            if least[start] + 1 < least[end] and (
                folded[start:end] in words or _is_run(piece) or _YEAR.fullmatch(piece) or piece in text[:start]
            ):
                least[end] = least[start] + 1
    tail = len(text) - len(re.search(r"[\W\d_]{0,8}$", text)[0])  # type: ignore[index]
    return min(least[-1], least[tail] + 1)


def _words_of(name: str) -> set[str]:
    return {_unleet(w) for w in re.split(r"[^a-z0-9]+", name.casefold()) if len(w) > 2}


def _unleet(text: str) -> str:
    # One character for `i` and `l`: both are written as 1.
    return "".join(_LEET.get(sign, sign) for sign in text).replace("l", "i")


def _is_run(piece: str) -> bool:
    """Whether a piece is one character repeated, or follows the alphabet, the digits or a keyboard row in either direction."""
    return len(set(piece)) == 1 or any(piece in row or piece[::-1] in row for row in _ROWS)


@lru_cache(maxsize=1)
def _common() -> frozenset[str]:
    text = Path(__file__).with_name("common_passwords.txt").read_text(encoding="utf-8")
    return frozenset(_unleet(word) for word in text.split())
