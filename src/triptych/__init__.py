"""Triptych: small neural systems to train on a laptop, take apart, trust and ship."""

__version__ = "0.1.0"
