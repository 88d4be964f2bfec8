"""Node trust: tells a node's containerd where the proxy is and which CA to trust there. Writes one folder, knows no secret."""
