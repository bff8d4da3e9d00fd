"""The trie against a set of prefixes, and the dictionary against a Python one."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

from triptych.decoding import Dictionary, Lexicon
from triptych.decoding.contract import Array
from triptych.errors import DataError

WORDS = st.lists(st.lists(st.integers(0, 5), max_size=6).map(tuple), max_size=20)
QUERY = st.lists(st.integers(0, 9), max_size=7).map(tuple)


def walk(lexicon: Lexicon, prefix: tuple[int, ...]) -> Array:
    return lexicon.walk(np.array([prefix], dtype=np.int64), np.array([len(prefix)]))


@given(words=WORDS)
def test_holds_the_words_and_every_prefix_once(words: list[tuple[int, ...]]) -> None:
    lexicon = Lexicon.from_words(words)
    prefixes = {word[:length] for word in words for length in range(len(word) + 1)} | {()}
    assert len(lexicon) == len(set(words))
    assert all(word in lexicon for word in words)
    assert lexicon.outside == len(prefixes)
    nodes = {int(walk(lexicon, prefix)[0]) for prefix in prefixes}
    assert nodes == set(range(len(prefixes)))


@given(words=WORDS, query=QUERY)
def test_walks_and_continues_as_the_set_of_prefixes_says(words: list[tuple[int, ...]], query: tuple[int, ...]) -> None:
    lexicon = Lexicon.from_words(words)
    prefixes = {word[:length] for word in words for length in range(len(word) + 1)} | {()}
    node = walk(lexicon, query)
    assert (query in lexicon) == (query in words)
    assert (int(node[0]) == lexicon.outside) == (query not in prefixes)
    assert bool(lexicon.is_word[node[0]]) == (query in words)
    assert lexicon.continuations(node, 10)[0].tolist() == [(*query, symbol) in prefixes for symbol in range(10)]


@given(words=WORDS, queries=st.lists(QUERY, min_size=1, max_size=8))
def test_rows_do_not_disturb_each_other(words: list[tuple[int, ...]], queries: list[tuple[int, ...]]) -> None:
    lexicon = Lexicon.from_words(words)
    width = max(map(len, queries))
    padded = np.array([[*query, *[3] * (width - len(query))] for query in queries], dtype=np.int64)
    nodes = lexicon.walk(padded.reshape(len(queries), width), np.array([len(query) for query in queries]))
    assert nodes.tolist() == [int(walk(lexicon, query)[0]) for query in queries]
    alone = [lexicon.continuations(nodes[i : i + 1], 8)[0] for i in range(len(nodes))]
    np.testing.assert_array_equal(lexicon.continuations(nodes, 8), alone)


def test_a_symbol_beyond_all_words_is_not_mistaken_for_another_nodes_child() -> None:
    """Edges are numbered parent * 2 + symbol here, so that symbol 2 of the root has the number of (1, 0)."""
    lexicon = Lexicon.from_words([(1, 0)])
    assert (1, 0) in lexicon
    assert int(walk(lexicon, (2,))[0]) == lexicon.outside


def test_order_and_repetition_do_not_matter() -> None:
    one = Lexicon.from_words([(1, 2), (1,), (4, 0, 1)])
    two = Lexicon.from_words([(4, 0, 1), (1, 2), (1,), (1, 2)])
    np.testing.assert_array_equal(one.edges, two.edges)
    np.testing.assert_array_equal(one.is_word, two.is_word)
    assert len(two) == 3


def test_a_negative_symbol_is_named_with_its_word() -> None:
    with pytest.raises(DataError) as caught:
        Lexicon.from_words([(1,), (), (-1, 0), (2,)])
    assert (caught.value.field, caught.value.value) == ("a symbol of word 3 of the lexicon", -1)


@given(pairs=st.lists(st.tuples(st.text("ab", min_size=1, max_size=2), st.text("xy", max_size=2)), max_size=12))
def test_a_dictionary_lists_the_targets_of_a_source_once_in_their_order(pairs: list[tuple[str, str]]) -> None:
    dictionary = Dictionary((list(source), list(target)) for source, target in pairs)
    assert len(dictionary) == len({source for source, _ in pairs})
    for source in ("a", "b", "ab", "bb", "aab"):
        expected = list(dict.fromkeys(target for known, target in pairs if known == source))
        assert ["".join(target) for target in dictionary.lookup(source)] == expected
        assert (tuple(source) in dictionary) == bool(expected)


def test_a_dictionary_entry_without_a_source_is_named() -> None:
    with pytest.raises(DataError, match="the source of dictionary entry 2 is empty"):
        Dictionary([(("a",), ("b",)), ((), ("c",))])
