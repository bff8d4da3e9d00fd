"""The trie against a set of prefixes, and the exact lexicon against a dictionary."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from triptych.errors import DataError
from triptych.spell.lexicon import ExactLexicon, Lexicon

WORDS = st.lists(st.lists(st.integers(0, 5), max_size=6).map(tuple), max_size=20)
QUERY = st.lists(st.integers(0, 9), max_size=7).map(tuple)


def walk(lexicon: Lexicon, prefix: tuple[int, ...]) -> torch.Tensor:
    return lexicon.walk(torch.tensor([prefix], dtype=torch.long), torch.tensor([len(prefix)]))


@given(words=WORDS)
def test_holds_the_words_and_every_prefix_once(words: list[tuple[int, ...]]) -> None:
    lexicon = Lexicon.from_words(words)
    prefixes = {word[:length] for word in words for length in range(len(word) + 1)} | {()}
    assert len(lexicon) == len(set(words))
    assert all(word in lexicon for word in words)
    assert lexicon.outside == len(prefixes)
    nodes = {int(walk(lexicon, prefix)) for prefix in prefixes}
    assert nodes == set(range(len(prefixes)))


@given(words=WORDS, query=QUERY)
def test_walks_and_continues_as_the_set_of_prefixes_says(words: list[tuple[int, ...]], query: tuple[int, ...]) -> None:
    lexicon = Lexicon.from_words(words)
    prefixes = {word[:length] for word in words for length in range(len(word) + 1)} | {()}
    node = walk(lexicon, query)
    assert (query in lexicon) == (query in words)
    assert (int(node) == lexicon.outside) == (query not in prefixes)
    assert bool(lexicon.is_word[node]) == (query in words)
    assert lexicon.continuations(node, 10)[0].tolist() == [(*query, symbol) in prefixes for symbol in range(10)]


@given(words=WORDS, queries=st.lists(QUERY, min_size=1, max_size=8))
def test_rows_do_not_disturb_each_other(words: list[tuple[int, ...]], queries: list[tuple[int, ...]]) -> None:
    lexicon = Lexicon.from_words(words)
    width = max(map(len, queries))
    padded = torch.tensor([[*query, *[3] * (width - len(query))] for query in queries], dtype=torch.long)
    nodes = lexicon.walk(padded.view(len(queries), width), torch.tensor([len(query) for query in queries]))
    assert nodes.tolist() == [int(walk(lexicon, query)) for query in queries]
    alone = [lexicon.continuations(node[None], 8)[0] for node in nodes]
    assert torch.equal(lexicon.continuations(nodes, 8), torch.stack(alone))


def test_a_symbol_beyond_all_words_is_not_mistaken_for_another_nodes_child() -> None:
    """Edges are numbered parent * 2 + symbol here, so that symbol 2 of the root has the number of (1, 0)."""
    lexicon = Lexicon.from_words([(1, 0)])
    assert (1, 0) in lexicon
    assert int(walk(lexicon, (2,))) == lexicon.outside


def test_order_and_repetition_do_not_matter() -> None:
    one = Lexicon.from_words([(1, 2), (1,), (4, 0, 1)])
    two = Lexicon.from_words([(4, 0, 1), (1, 2), (1,), (1, 2)])
    assert torch.equal(one.edges, two.edges)
    assert torch.equal(one.is_word, two.is_word)
    assert len(two) == 3


def test_a_negative_symbol_is_named_with_its_word() -> None:
    with pytest.raises(DataError, match="word 3 of the lexicon has the symbol -1; expected indices >= 0"):
        Lexicon.from_words([(1,), (), (-1, 0), (2,)])


def test_exact_lexicon_gives_the_targets_of_known_sources_only() -> None:
    lexicon = ExactLexicon({("K", "AE"): ["ca", ("k", "a"), "ca"], ("T",): ["t"]})
    assert lexicon.lookup(["K", "AE"]) == (("c", "a"), ("k", "a"))
    assert lexicon.lookup(("T",)) == (("t",),)
    assert lexicon.lookup(("AE", "K")) == ()
    assert ("T",) in lexicon
    assert ("K",) not in lexicon
    assert len(lexicon) == 2


def test_exact_lexicon_collects_pairs_in_their_order() -> None:
    lexicon = ExactLexicon.from_pairs([([1, 2], [7]), ([3], [9]), ([1, 2], [6]), ([1, 2], [7])])
    assert lexicon.lookup([1, 2]) == ((7,), (6,))
    assert lexicon.lookup([3]) == ((9,),)


@pytest.mark.parametrize("targets", ["cat", []])
def test_exact_lexicon_names_targets_that_are_no_list(targets: list[str]) -> None:
    with pytest.raises(DataError) as caught:
        ExactLexicon({("K",): targets})
    assert str(caught.value).startswith(
        f"targets of ('K',) in the lexicon are {targets!r}; expected a list of one or more targets."
    )
