"""Symbols, vocabularies, pairs and predictions of text. Nothing here imports PyTorch."""
