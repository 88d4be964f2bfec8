"""One request over the network: where it may go, and the answer as it comes."""
