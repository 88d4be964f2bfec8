//go:build tools

// Package peers pins what is built from elsewhere: the etcd that goes with this Kubernetes, where Debian's is years older.
package peers

import _ "go.etcd.io/etcd/server/v3"
