from typing import Any

from ._base import get_qrels as get_qrels
from ._base import get_qrels_file as get_qrels_file
from ._base import get_topics as get_topics
from ._base import get_topics_with_reader as get_topics_with_reader

def __getattr__(name: str) -> Any: ...
