package logtest_test

import (
	"testing"

	"github.com/tailfold/tailfold/consumer/logtest"
)

func TestMemoryConforms(t *testing.T) { logtest.Run(t, logtest.MemoryHarness()) }
