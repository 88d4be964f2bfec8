"""The resources as immutable values, each with its manifest form. One file a kind."""
