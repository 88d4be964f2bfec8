//go:build tools

// Package programs pins what tests build from elsewhere: the public conformance suite and two more pull clients.
package programs

import (
	_ "github.com/google/go-containerregistry/cmd/crane"
	_ "github.com/opencontainers/distribution-spec/conformance"
	_ "github.com/regclient/regclient/cmd/regctl"
)
