"""Speaking to an API server: where it is, requests with deadlines, watches line by line."""
