package logtest_test

import (
	"testing"

	"github.com/tailfold/tailfold/consumer"
	"github.com/tailfold/tailfold/consumer/logtest"
)

func TestTheMembershipInMemoryKeepsThePromises(t *testing.T) {
	logtest.RunMembers(t, logtest.MembersHarness{New: func(logtest.T) (a, b consumer.Membership) {
		m := logtest.NewMembers()
		return m.Of(), m.Of()
	}})
}
