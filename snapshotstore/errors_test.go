package snapshotstore_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/tailfold/tailfold/snapshotstore"
)

func TestErrorsSayWhatAnOperatorNeeds(t *testing.T) {
	unit := snapshotstore.Unit{Projection: "customer-totals", Version: 2, Partition: 3}
	held := snapshotstore.Mark{Seq: 41, Epoch: 7, Writer: "worker-b"}.Seal("x")
	full := errors.New("no space left on device")
	for _, test := range []struct {
		err  error
		want string
	}{
		{&snapshotstore.ConflictError{Unit: unit, Held: held},
			"customer-totals/v2/3: the store holds seq 41, epoch 7, written by worker-b"},
		{&snapshotstore.ConflictError{Unit: unit}, "customer-totals/v2/3: the store holds no snapshot"},
		{&snapshotstore.CorruptError{Unit: unit, Why: "there are values, but no mark"},
			"customer-totals/v2/3: there are values, but no mark"},
		{&snapshotstore.CorruptError{Unit: unit, Key: "a\n\xff", Why: "its checksum differs"},
			`customer-totals/v2/3, key "a\n\xff": its checksum differs`},
		{&snapshotstore.ServedError{Projection: "customer-totals", Served: 2}, "customer-totals: readers use version 2"},
		{&snapshotstore.Error{Class: snapshotstore.Wait, Op: "commit", Err: full}, "store: commit: no space left on device"},
		{&snapshotstore.Error{Class: snapshotstore.Wait, Op: "commit", Fix: "make room", Err: full},
			"store: commit: no space left on device (make room)"},
	} {
		if got := test.err.Error(); got != test.want {
			t.Errorf("%T says\n%s\nwant\n%s", test.err, got, test.want)
		}
	}
}

func TestClassOfFindsTheClassOfAnErrorHoweverWrapped(t *testing.T) {
	full := &snapshotstore.Error{Class: snapshotstore.Wait, Op: "commit", Err: context.DeadlineExceeded}
	for _, test := range []struct {
		err  error
		want snapshotstore.Class
	}{
		{full, snapshotstore.Wait},
		{fmt.Errorf("customer-totals: %w", errors.Join(errors.New("first"), full)), snapshotstore.Wait},
		{&snapshotstore.Error{Class: snapshotstore.Stop, Err: full}, snapshotstore.Stop},
		{&snapshotstore.Error{}, snapshotstore.Again},
		{errors.New("of nobody's class"), snapshotstore.Again},
		{nil, snapshotstore.Again},
	} {
		if got := snapshotstore.ClassOf(test.err); got != test.want {
			t.Errorf("ClassOf(%v) is %d, want %d", test.err, got, test.want)
		}
	}
	if !errors.Is(fmt.Errorf("customer-totals: %w", full), context.DeadlineExceeded) {
		t.Error("the cause can't be found in an *Error")
	}
}

func TestAUnitIsNamedAsTheLayoutHasIt(t *testing.T) {
	unit := snapshotstore.Unit{Projection: "customer-totals", Version: 2, Partition: 3}
	if got, want := unit.String(), "customer-totals/v2/3"; got != want {
		t.Errorf("the unit is named %s, want %s", got, want)
	}
}
