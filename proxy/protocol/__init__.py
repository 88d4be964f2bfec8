"""The registry protocol as the proxy speaks it: paths, scopes, access tokens. No I/O here."""
