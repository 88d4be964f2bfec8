"""Mutating admission: pure functions between the decoding of a review and the encoding of its answer."""
