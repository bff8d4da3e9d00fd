"""Everything that the command line, the server and Python users call.

Names are listed in `__init__.pyi` alone, and found on first use, so that who only predicts does not wait for the
trainer, the figures or the search.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
