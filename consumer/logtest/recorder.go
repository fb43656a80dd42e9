package logtest

import (
	"context"
	"fmt"
	"runtime"
	"slices"
)

// recorder is a T that only takes down what fails, for checks that must fail and for other goroutines.
type recorder struct {
	outer    T
	failures []string
	cleanups []func()
}

// do runs a check to its end or to its first fatal failure, and then what it left to clean up.
func (r *recorder) do(check func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		check()
	}()
	<-done
	for _, f := range slices.Backward(r.cleanups) {
		f()
	}
}

func (r *recorder) Helper() {}
func (r *recorder) Errorf(format string, args ...any) {
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
}
func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}
func (r *recorder) Logf(string, ...any)      {}
func (r *recorder) Cleanup(f func())         { r.cleanups = append(r.cleanups, f) }
func (r *recorder) Context() context.Context { return r.outer.Context() }
