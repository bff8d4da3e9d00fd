"""From trained models to folders that run without PyTorch; `triptych.runtime` reads them."""
