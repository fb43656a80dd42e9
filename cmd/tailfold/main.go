// Command tailfold is the stock binary: projections come from its configuration.
package main

import (
	"github.com/tailfold/tailfold/cmd"
	"github.com/tailfold/tailfold/cmd/bench"
	"github.com/tailfold/tailfold/cmd/dev"
)

// version is set by the release's build (-ldflags "-X main.version=…").
var version string

func main() {
	cmd.Main(nil, cmd.WithVersion(version), cmd.WithCommand("dev", dev.Summary, &dev.Command{}),
		cmd.WithCommand("bench", bench.Summary, &bench.Command{}))
}
