"""A one-node Kubernetes as plain processes of this machine: no Docker, nothing installed but Debian's packages.

Everything that a cluster writes is below its run folder, but for one bridge, firewall rules and one sysctl; `Cluster.down`
takes all of it away again, whatever state a crash left it in. Only processes that a run folder names are ever signalled.
"""
