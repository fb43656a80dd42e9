package cmd

import (
	"os"
)

// ConfigFlags are the flags of commands that need the configuration.
type ConfigFlags struct {
	Config string `short:"c" placeholder:"FILE" help:"Configuration file. Default: $$TAILFOLD_CONFIG, else ./tailfold.yaml if it is there."`
	NATS   string `name:"nats" placeholder:"URL" help:"NATS server, in place of nats.url."`
	Store  string `name:"store" aliases:"redis" placeholder:"URL|FILE" help:"URL of a Redis or path of a file, in place of store.redis and store.file."`
	Listen string `name:"listen" placeholder:"HOST:PORT" help:"Address of the worker's HTTP server, in place of http.listen."`
}

// LogFlags are the flags of commands that log.
type LogFlags struct {
	LogFormat string `name:"log-format" placeholder:"FORMAT" help:"auto, console or json, in place of log.format."`
	LogLevel  string `name:"log-level" placeholder:"LEVEL" help:"debug, info, warn or error, in place of log.level."`
	Name      string `name:"name" placeholder:"NAME" help:"This worker's name, in place of worker.name."`
}

// load reads the configuration that the flags name, and the projections of the registry and the configuration together.
func (f ConfigFlags) load(app *App, log LogFlags) (*loaded, error) {
	flags := map[string]string{}
	for name, value := range map[string]string{"nats": f.NATS, "store": f.Store, "listen": f.Listen,
		"log-format": log.LogFormat, "log-level": log.LogLevel, "name": log.Name} {
		if value != "" {
			flags[name] = value
		}
	}
	return app.load(Sources{File: app.configFile(f.Config), Environ: app.Environ, Flags: flags})
}

// configFile is the file that a flag names, or that is there.
func (a *App) configFile(named string) string {
	if named != "" {
		return named
	}
	if name, _ := lookup(a.Environ)("TAILFOLD_CONFIG"); name != "" {
		return name
	}
	if _, err := os.Stat(DefaultFile); err == nil {
		return DefaultFile
	}
	return ""
}
