"""Which passwords are refused, and that good ones are not."""

from __future__ import annotations

import random
import secrets
import string

import pytest

from core.errors import BadInput
from core.services.access.passwords import is_weak, refuse_weak

COMMON = [
    "password1234", "Passw0rd!2024", "P@$$w0rdP@$$w0rd", "administrator", "Administrator1!", "adminadminadmin", "qwertyuiop12", "1q2w3e4r5t6y",
    "qwertzuiop123", "123456789012", "210987654321", "aaaaaaaaaaaa", "abcabcabcabc", "xk7xk7xk7xk7", "abcdefghijkl", "iloveyou2024!",
    "ILoveYouForever", "letmein-please", "welcome2026!!", "Sommer2025!!!", "football12345", "ContinualML2026", "streamlit-1234",
    "correcthorsebatterystaple", "superman&batman", "changeme12345", "zxcvbnm,asdfghjkl", "asdfghjkl;12", "Jennifer1990!", "!@#$%^&*()_+", "p" * 72,
]  # fmt: skip


@pytest.mark.parametrize("password", COMMON)
def test_what_everybody_would_try_first_is_refused_with_what_to_do(password: str) -> None:
    with pytest.raises(BadInput, match="our unrelated words") as refused:
        refuse_weak(password, "ada")
    assert password not in str(refused.value)


@pytest.mark.parametrize("password", ["maria.keller1", "Maria.Keller.2026", "k3ller.maria12", "m4ria-m4ria-77"])
def test_the_persons_own_name_is_no_password(password: str) -> None:
    assert is_weak(password, "maria.keller")
    assert not is_weak("wet gravel, copper lid", "maria.keller")


@pytest.mark.parametrize(
    "password",
    ["tall-trees-in-wind", "Zaunkoenig-42", "a long enough one", "wet gravel, copper lid", "übergroße Katzenklappe", "7fK#q2!vLz9w", "летняя ночь над рекой"],
)  # fmt: skip
def test_uncommon_ones_are_taken(password: str) -> None:
    assert not is_weak(password, "ada")


def test_generated_ones_are_always_taken() -> None:
    rng = random.Random(5)
    signs = string.ascii_letters + string.digits + "-_"
    assert not any(is_weak("".join(rng.choices(signs, k=16)), "ada") for _ in range(300))
    assert not is_weak(secrets.token_urlsafe(12), "admin")


@pytest.mark.parametrize(
    ("password", "said"),
    [("tall trees!", "11 characters, expected at least 12"), ("tree " * 15, "75 bytes"), ("с" * 37, "74 bytes"), ("tall\0trees in wind", "control character")],
)  # fmt: skip
def test_a_password_has_12_characters_and_72_bytes_at_most(password: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        refuse_weak(password, "ada")
