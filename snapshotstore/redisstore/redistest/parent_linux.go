package redistest

import "syscall"

// dieWithParent has the kernel kill the server when the test process dies without its clean-up (a panic, -timeout).
func dieWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
