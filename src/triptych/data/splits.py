"""Splits into train, valid and test that keep groups together and change little when data grows.

Groups are put in the order of a keyed hash of their key, and that order is cut at the fractions. The result depends on
the keys, how often each is there, and the seed; not on the order of the rows nor on the Python process. Added rows move
only what lies near a cut.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter

from triptych.errors import DataError, RecipeError


def split_by_fraction(
    keys: Sequence[Hashable],
    *,
    fractions: Mapping[str, float],
    seed: int,
    stratify: Sequence[Hashable] | None = None,
) -> dict[str, list[int]]:
    """Split items at random so that items with equal keys share a split.

    Each cut is made at the boundary between groups nearest to its fraction that leaves no split empty.

    Args:
        keys: one key per item: text, bytes, an integer, None, or a tuple of these.
        fractions: split names with their shares, each > 0, summing to 1.
        seed: another seed gives another split.
        stratify: one stratum per item, of a key's types, whose share is then the same in each split as far as groups
            allow. A group counts as the stratum most of its items have.
    Returns:
        Item indices of each split, ascending, none empty.
    Raises:
        RecipeError: the fractions are not positive or do not sum to 1.
        DataError: there are fewer groups than splits, a key is of another type, or `stratify` has another length.
    """
    _check_fractions(fractions)
    groups: dict[Hashable, list[int]] = defaultdict(list)
    for item, key in enumerate(keys):
        groups[key].append(item)
    if len(groups) < len(fractions):
        raise DataError(
            f"the data has {len(keys)} items in {len(groups)} groups; expected at least {len(fractions)} groups, "
            f"one for each of {', '.join(fractions)}.",
            hint="Add data or make fewer splits.",
        )
    if stratify is not None and len(stratify) != len(keys):
        raise DataError(
            field="the length of stratify", value=len(stratify), expected=f"{len(keys)}, one for each of the items"
        )
    ordered = _order(groups, seed, stratify)
    cuts = _cuts([len(group) for group in ordered], list(fractions.values()))
    return {
        name: sorted(item for group in ordered[first:last] for item in group)
        for name, first, last in zip(fractions, cuts, cuts[1:], strict=False)
    }


def connected_groups(rows: Sequence[Sequence[Hashable]]) -> list[Hashable]:
    """One key per row, equal for rows that share a key, directly or through other rows (union-find).

    With rows `[(word, pronunciation), ...]` neither a word nor a pronunciation then lies in two splits. The price is
    that chains of homophones make large groups. Tag the keys where the same text could be either.

    Args:
        rows: the keys of each row, at least one each, of the types `split_by_fraction` takes.
    Returns:
        The smallest key, by its bytes, of all rows joined with the row; it does not depend on the order of the rows.
    """
    numbers: dict[Hashable, int] = {}
    parent: list[int] = []

    def root(number: int) -> int:
        while parent[number] != number:
            parent[number] = number = parent[parent[number]]
        return number

    for row in rows:
        if not row:
            raise DataError(field="the number of keys of a row", value=0, expected="at least one")
        for key in row:
            number = numbers.setdefault(key, len(parent))
            if number == len(parent):
                parent.append(number)
            parent[root(number)] = root(numbers[row[0]])
    smallest: dict[int, tuple[bytes, Hashable]] = {}
    for key, number in numbers.items():
        group, candidate = root(number), (_key_bytes(key), key)
        smallest[group] = min(smallest.get(group, candidate), candidate, key=itemgetter(0))
    return [smallest[root(numbers[row[0]])][1] for row in rows]


def _check_fractions(fractions: Mapping[str, float]) -> None:
    for name, fraction in fractions.items():
        if not fraction > 0:
            raise RecipeError(field=f"the fraction of {name}", value=fraction, expected="a number > 0")
    total = math.fsum(fractions.values())
    if not math.isclose(total, 1.0, abs_tol=1e-6):
        listed = ", ".join(f"{name} {fraction}" for name, fraction in fractions.items())
        raise RecipeError(field="the sum of the fractions", value=f"{total:g}", expected=f"1 ({listed})")


def _order(groups: Mapping[Hashable, list[int]], seed: int, stratify: Sequence[Hashable] | None) -> list[list[int]]:
    """The groups, each stratum in hash order and spread evenly from 0 to 1, so that any cut takes its share of each."""
    strata: dict[Hashable, list[Hashable]] = defaultdict(list)
    for key, items in groups.items():
        strata[None if stratify is None else _commonest([stratify[item] for item in items])].append(key)
    digest_of, digest_of_stratum = _digests(seed, role=b"key"), _digests(seed, role=b"stratum")
    places: list[tuple[float, bytes, Hashable]] = []
    for stratum, members in strata.items():
        offset = int.from_bytes(digest_of_stratum(stratum)[:6], "big") / 2**48
        total = sum(len(groups[key]) for key in members)
        before = 0
        for digest, key in sorted(((digest_of(key), key) for key in members), key=itemgetter(0)):
            places.append(((before + offset * len(groups[key])) / total, digest, key))
            before += len(groups[key])
    places.sort(key=itemgetter(0, 1))
    return [groups[key] for _, _, key in places]


def _commonest(strata: list[Hashable]) -> Hashable:
    counts = Counter(strata)
    return min(counts, key=lambda stratum: (-counts[stratum], _key_bytes(stratum)))


def _cuts(sizes: list[int], fractions: list[float]) -> list[int]:
    """Group positions where splits begin and end: 0, one cut between each two splits, the number of groups."""
    ends = [0]
    for size in sizes:
        ends.append(ends[-1] + size)
    cuts = [0]
    wanted = 0.0
    for splits_left, fraction in zip(range(len(fractions) - 1, 0, -1), fractions, strict=False):
        wanted += fraction * ends[-1]
        distance = [abs(end - wanted) for end in ends]
        allowed = range(cuts[-1] + 1, len(sizes) - splits_left + 1)
        cuts.append(min(allowed, key=distance.__getitem__))
    return [*cuts, len(sizes)]


def _digests(seed: int, *, role: bytes) -> Callable[[Hashable], bytes]:
    """A hash of keys that differs by seed and by role."""
    keyed = hashlib.blake2b(key=hashlib.sha256(str(seed).encode()).digest(), person=role, digest_size=16)

    def digest(key: Hashable) -> bytes:
        state = keyed.copy()
        state.update(_key_bytes(key))
        return state.digest()

    return digest


def _key_bytes(key: Hashable) -> bytes:
    """Bytes that differ for different keys and are the same in every process."""
    if isinstance(key, str):
        return _text_bytes(key)
    if isinstance(key, tuple):
        body = b"t" + b"".join([_text_bytes(part) if isinstance(part, str) else _key_bytes(part) for part in key])
    elif isinstance(key, bytes):
        body = b"b" + key
    elif key is None or isinstance(key, int):
        body = b"i" + str(key if key is None else int(key)).encode()
    else:
        raise DataError(
            field="the type of a split key", value=type(key).__name__, expected="text, bytes, integer, None or a tuple"
        )
    return b"%d:" % len(body) + body


@lru_cache(maxsize=1024)  # the parts of tuples are few symbols, each in many keys
def _text_bytes(text: str) -> bytes:
    body = b"s" + text.encode("utf-8", "surrogatepass")
    return b"%d:" % len(body) + body
