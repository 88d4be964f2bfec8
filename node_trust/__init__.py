"""Node trust: configures where a node's containerd finds the proxy and which CA it trusts. Writes one folder, holds no secret."""
