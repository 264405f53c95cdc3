"""Splitting queries into those to train on, to validate with and to test with, so that none tells about another.

Example: "how to copy a file" and "How to copy a file?" are the same question. Two queries that share a relevant
document are related as well: a model that saw the one in training has seen the other's answer.
"""

import re
from collections.abc import Collection, Mapping
from random import Random

from ..runs.topics import Qrels
from .training_data import SPLITS

_NO_WORD = re.compile(r"\W+")


def words(query: str) -> str:
    """Give the words of a query, by which two queries are the same."""
    return _NO_WORD.sub(" ", query.casefold()).strip() or query


def relevant(qrels: Qrels, qid: str, level: int) -> set[str]:
    return {docid for docid, grade in qrels[qid].items() if grade >= level}


def check_shares(held_out: Mapping[str, float | list[str]]) -> None:
    """Check that both splits are shares, or that both are named.

    Raises
    ------
    ValueError
        One is a share and the other one is named, or nothing would be left to train on.
    """
    shares = [share for share in held_out.values() if isinstance(share, float)]
    if len(shares) == 1:
        raise ValueError("validation= and test=: give two shares, or the qids of both (which may be empty lists).")
    if sum(shares) >= 1:
        raise ValueError(f"validation= and test= take all queries ({sum(shares):.0%}): leave some to train on.")


def split_by_shares(
    topics: Mapping[str, str], qrels: Qrels, level: int, shares: Mapping[str, float], seed: int
) -> dict[str, str]:
    """Split queries by chance, and keep related ones together: qid -> split.

    Groups of related queries are taken in the order of the seed while they fit into the shares of ``"test"`` and then
    ``"validation"``; all others are trained on.
    """
    groups = list(_related(topics, qrels, level).values())
    Random(seed).shuffle(groups)
    splits = dict.fromkeys(topics, "train")
    for split in ("test", "validation"):
        left = round(shares[split] * len(topics))
        for group in groups:
            if len(group) <= left and splits[group[0]] == "train":
                splits.update(dict.fromkeys(group, split))
                left -= len(group)
    return splits


def split_as_named(topics: Mapping[str, str], named: Mapping[str, Collection[str]]) -> dict[str, str]:
    """Split queries as a user names those to validate and to test with: qid -> split.

    A query to train on with the words of one of the others is left out.

    Raises
    ------
    ValueError
        A qid is named for both, or two of them have the same words; or a qid is not among the judged topics.
    """
    splits: dict[str, str] = {}
    held_out: dict[str, str] = {}
    for split in ("test", "validation"):
        for qid in named[split]:
            if qid not in topics:
                raise ValueError(f"{split}= names the query {qid!r:.50}, which is no topic with a relevant document.")
            if held_out.setdefault(words(topics[qid]), split) != split:
                raise ValueError(
                    f"the query {qid!r:.50} ({topics[qid]!r:.80}) is in test= and in validation=: leave one out."
                )
            splits[qid] = split
    return splits | {
        qid: "train" for qid, query in topics.items() if qid not in splits and words(query) not in held_out
    }


def check_apart(queries_of_splits: Mapping[str, Mapping[str, str]]) -> None:
    """Check that no query, by its qid or its words, is in two splits: split -> qid -> query.

    Raises
    ------
    ValueError
        One is.
    """
    seen: dict[str, str] = {}
    for split in SPLITS:
        for qid, query in queries_of_splits[split].items():
            for key in (f"qid {qid}", f"words {words(query)}"):
                if seen.setdefault(key, split) != split:
                    raise ValueError(
                        f"the query {qid!r:.50} ({query!r:.80}) is in {seen[key]} and in {split}: make the data anew."
                    )


def _related(topics: Mapping[str, str], qrels: Qrels, level: int) -> dict[str, list[str]]:
    """Group queries that have the same words or a relevant document in common, also by way of others."""
    group_of = {qid: qid for qid in topics}

    def first(qid: str) -> str:
        while group_of[qid] != qid:
            group_of[qid] = qid = group_of[group_of[qid]]
        return qid

    seen: dict[tuple[str, str], str] = {}
    for qid, query in topics.items():
        for key in (("words", words(query)), *(("docid", docid) for docid in relevant(qrels, qid, level))):
            group_of[first(qid)] = first(seen.setdefault(key, qid))
    groups: dict[str, list[str]] = {}
    for qid in topics:
        groups.setdefault(first(qid), []).append(qid)
    return groups
