"""Reading, fetching, splitting and fingerprinting data, whatever panel it is for."""
