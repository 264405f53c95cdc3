"""YAML with the numbers and words of version 1.2. PyYAML itself reads those of version 1.1."""

import re
from collections.abc import Hashable
from typing import Any

import yaml


def read_yaml(text: str) -> Any:
    """Read YAML: ``1e-1`` and ``010`` (ten) are numbers, and ``no``, ``1:30`` and ``2024-01-01`` are texts.

    Raises
    ------
    ValueError
        The text is no YAML, has a key twice, or asks for a Python object.

    References
    ----------
    https://yaml.org/spec/1.2.2/#103-core-schema
    """
    try:
        return _Loader(text).get_single_data()
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(f"{' '.join(str(error).split()):.200}") from None


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, with the core schema's words and numbers. A key may come only once, as YAML demands."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 - as PyYAML has it

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [key.value for key, _ in node.value]
        twice = [key for key in keys if keys.count(key) > 1]
        if twice:
            raise yaml.constructor.ConstructorError(problem=f"{twice[0]} comes twice")
        return super().construct_mapping(node, deep)


def _int(loader: _Loader, node: yaml.ScalarNode) -> int:
    """Read a whole number: ``010`` is 10, ``0o10`` is 8 and ``0x10`` is 16."""
    text = str(loader.construct_scalar(node))
    return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))


_Loader.add_constructor("tag:yaml.org,2002:int", _int)
for _tag, _pattern, _first in (
    ("null", r"(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("bool", r"(?:true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    ("int", r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$", list("-+0123456789")),
    (
        "float",
        r"(?:[-+]?(?:(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|\.inf|\.Inf|\.INF)|\.nan|\.NaN|\.NAN)$",
        list("-+.0123456789"),
    ),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), _first)
