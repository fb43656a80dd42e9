package cmd

import (
	"fmt"
	"runtime"
)

type versionCommand struct{}

// Help completes --help.
func (versionCommand) Help() string {
	return `Examples:

    tailfold version
    docker run --rm tailfold version`
}

// Run prints the version.
func (versionCommand) Run(app *App) error {
	_, err := fmt.Fprintf(app.Stdout, "tailfold %s (%s, %s/%s)\n", app.Version, runtime.Version(), runtime.GOOS,
		runtime.GOARCH)
	return err
}
