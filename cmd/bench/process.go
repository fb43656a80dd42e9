package bench

import (
	"bufio"
	"os/exec"
	"sync"

	"github.com/go-json-experiment/json"
)

// process is a run of a contender.
type process struct {
	command *exec.Cmd
	stdout  *bufio.Reader
	once    sync.Once
}

func (b *bench) startChild(s spec) (*process, error) {
	text, err := json.Marshal(s, json.Deterministic(true))
	if err != nil {
		return nil, err
	}
	command, stdout, err := again(flagRun, string(text))
	if err != nil {
		return nil, err
	}
	return &process{command: command, stdout: stdout}, nil
}

// kill ends it by SIGKILL, if it still runs, and waits until it is gone.
func (p *process) kill() { p.once.Do(func() { stop(p.command) }) }
