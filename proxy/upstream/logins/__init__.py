"""Who we are to an upstream registry: one file a kind of login, each turning a secret into an identity."""
