"""The associative memory that people keep: patterns on disk, queries, indexes and novelty."""
