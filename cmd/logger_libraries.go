package cmd

import "github.com/redis/go-redis/v9/logging"

// silenceLibraries turns off what client libraries write to standard error by themselves: each failure that they tell
// of comes as an error too, is logged once, in the configuration's format, and without secrets. The library's switch is
// global, so that only Main, which has the process to itself, throws it.
func silenceLibraries() { logging.Disable() }
