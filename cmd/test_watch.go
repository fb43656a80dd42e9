package cmd

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"time"
)

// lookEvery is how often files are looked at: often enough to seem at once.
const lookEvery = 200 * time.Millisecond

// watch runs the tests whenever a file that they are read from changes, appears or goes, until the context ends.
func (c *testCommand) watch(app *App, pattern *regexp.Regexp) error {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		suite := newSuite(app)
		before := suite.stamps(c.Files) // what changes while the tests run is seen
		err := c.once(app, pattern, suite)
		if err != nil {
			fmt.Fprintln(app.Stderr, err)
		}
		maps.Copy(before, suite.newStamps(before))
		fmt.Fprintf(app.Stderr, "%s watching %s; Ctrl-C ends it\n", time.Now().Format(time.TimeOnly), count(len(before), "file"))
		for now, last := before, before; maps.Equal(before, now) || !maps.Equal(last, now); { // changed, and then still
			select {
			case <-app.Context.Done():
				return nil
			case <-ticker.C:
				now, last = suite.stamps(c.Files), now
			}
		}
		if !c.JSON {
			fmt.Fprintln(app.Stdout)
		}
	}
}

// stamp tells one state of a file from another.
type stamp struct {
	changed time.Time
	size    int64
}

// stamps are those of the files named, of all that were read, and of what the patterns of includes match now.
func (s *suite) stamps(files []string) map[string]stamp {
	found := map[string]stamp{}
	add := func(path string) {
		if info, err := os.Stat(path); err == nil {
			found[filepath.Clean(path)] = stamp{info.ModTime(), info.Size()}
		}
	}
	for _, path := range files {
		add(path)
	}
	for path := range s.seen {
		add(path)
	}
	for _, pattern := range s.patterns {
		paths, _ := filepath.Glob(pattern) // a bad pattern was told when it was read
		for _, path := range paths {
			add(path)
		}
	}
	return found
}

// newStamps are those of files that were met only by reading the others.
func (s *suite) newStamps(known map[string]stamp) map[string]stamp {
	fresh := s.stamps(nil)
	for path := range known {
		delete(fresh, path)
	}
	return fresh
}
