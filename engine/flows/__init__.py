"""Use cases: the only place where two domains meet. One file per use case."""
