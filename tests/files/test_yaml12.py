"""YAML by the core schema of version 1.2: https://yaml.org/spec/1.2.2/#1032-tag-resolution."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyserini_rerank.files.yaml12 import read_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        # The examples of the specification.
        *[("", None), ("null", None), ("~", None), ("true", True), ("True", True), ("false", False), ("FALSE", False)],
        *[("0", 0), ("0o7", 7), ("0x3A", 58), ("-19", -19)],
        *[("0.", 0.0), ("-0.0", -0.0), (".5", 0.5), ("+12e03", 12000.0), ("-2E+05", -200000.0)],
        *[(".inf", math.inf), ("-.Inf", -math.inf), ("+.INF", math.inf)],
        # Numbers and words of version 1.1 alone.
        *[("010", 10), ("-010", -10), ("08", 8), ("1e1", 10.0)],
        *[(text, text) for text in ("0b11", "1_000", "1:30", "2024-01-01", "yes", "no", "on", "OFF", "y", "<<", "=")],
    ],
)
def test_scalars_are_those_of_version_1_2(text: str, value: Any) -> None:
    read = read_yaml(text)
    assert read == value and type(read) is type(value)


def test_not_a_number() -> None:
    assert math.isnan(read_yaml(".nan"))


@given(st.integers(min_value=0), st.integers(0, 3))
def test_whole_numbers_are_decimal_however_many_zeros_come_first(number: int, zeros: int) -> None:
    assert read_yaml("0" * zeros + str(number)) == number
    assert read_yaml(hex(number)) == read_yaml(oct(number)) == number


@pytest.mark.parametrize("text", ["{a: 1, a: 2}", "!!python/object:os.system {}", "{", "!!int x", "? [1]\n: 2"])
def test_errors_have_one_line(text: str) -> None:
    with pytest.raises(ValueError) as error:
        read_yaml(text)
    assert len(str(error.value).splitlines()) == 1
