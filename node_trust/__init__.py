"""Node trust: a node's containerd is told where the proxy is and whom to believe there. Writes one folder, knows no secret."""
