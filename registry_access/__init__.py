"""What the webhook, the proxy and the command line must agree on."""
