"""One request, one answer: from the path to the last byte."""
