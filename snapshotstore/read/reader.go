// Package read is how a Go service reads the read models that Tailfold keeps: from any snapshotstore.Store, by key, with
// the seq that each value belongs to.
//
//	reader, err := read.New(store, read.Options{Projection: "customer-totals"})
//	result, err := reader.Get(ctx, "c-77")
//	customer, err := read.JSON[Customer](result)
//
// To read one's own write, give the seq that the log answered to the publisher:
//
//	ack, err := js.Publish(ctx, "orders.c-77", event)
//	result, err := reader.After(ack.Sequence, 2*time.Second).Get(ctx, "c-77")
//
// It depends on the store's interface alone: on no log, no logger and no client library.
package read

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tailfold/tailfold/snapshotstore"
)

// Options says what to read.
type Options struct {
	// Projection is its name. Required.
	Projection string

	// Version of the projection. Default 0: the one that is served, also when another is promoted meanwhile.
	Version int

	// Partitions of the stream, as configured for the worker. Default 1.
	Partitions int

	// PartitionOf tells in which partition a key is, where the key decides it: read.Partition for a key that is the
	// subject token by which the stream is partitioned. Default: every partition is asked.
	PartitionOf func(key string) int

	// Refresh is how long the served version is taken for the same before it is asked anew. Default 1 s; negative: asked
	// each time.
	Refresh time.Duration
}

// Reader reads one projection. It may be used by any number of goroutines.
type Reader struct {
	store   snapshotstore.Store
	options Options
	served  *served // shared with what After makes of it

	minSeq  uint64
	timeout time.Duration
}

// Result is what a projection has of a key, at one moment of one unit.
type Result struct {
	Key    string
	Value  []byte // as the projection's codec encoded it
	Exists bool   // false: no such key, after the events up to Seq

	// Seq of the log up to which the value holds every event. Where several partitions were asked and none has the key,
	// it is the lowest of theirs.
	Seq       uint64
	Partition int // -1: several were asked and none has the key
	Version   int
	Mark      snapshotstore.Mark // the whole mark that Seq is from
}

// New makes a reader. It does not talk to the store yet, nor does it ever close it.
func New(store snapshotstore.Store, options Options) (*Reader, error) {
	options.Partitions = cmp.Or(options.Partitions, 1)
	options.Refresh = cmp.Or(options.Refresh, time.Second)
	switch {
	case store == nil:
		return nil, errors.New("read: no store")
	case options.Projection == "":
		return nil, errors.New("read: no projection is named")
	case options.Version < 0:
		return nil, fmt.Errorf("read: version %d of %s is below 0", options.Version, options.Projection)
	case options.Partitions < 0:
		return nil, fmt.Errorf("read: %d partitions of %s are below 1", options.Partitions, options.Projection)
	}
	return &Reader{store: store, options: options, served: newServed(store, options)}, nil
}

// After is a reader of the same projection that answers only from snapshots that hold every event up to seq, and waits
// for them up to timeout: then it fails with *StaleError. Of a projection that lags by more than what is worth waiting
// for, ask status.
func (r *Reader) After(seq uint64, timeout time.Duration) *Reader {
	after := *r
	after.minSeq, after.timeout = seq, timeout
	return &after
}

// Get reads one key. A key that is in several partitions, which PartitionOf would tell from one another, is a
// *SeveralError: what they have can't be put together without knowing what it means.
//
// A snapshot that is not there is no missing key, but a *NoSnapshotError.
func (r *Reader) Get(ctx context.Context, key string) (Result, error) {
	results, err := r.GetMany(ctx, []string{key})
	if err != nil {
		return Result{}, err
	}
	return results[0], nil
}

// GetMany reads keys and returns as many results, in their order. What is of one partition is of one moment; partitions
// are read one beside the other.
func (r *Reader) GetMany(ctx context.Context, keys []string) ([]Result, error) {
	reads, err := r.find(ctx, keys)
	if err != nil {
		return nil, err
	}
	results := make([]Result, len(keys))
	for i, key := range keys {
		found, missing := pick(reads, i)
		switch len(found) {
		case 0:
			results[i] = missing
		case 1:
			results[i] = found[0]
		default:
			return nil, &SeveralError{Projection: r.options.Projection, Key: key, Results: found}
		}
	}
	return results, nil
}

// Find reads keys and returns for each of them what every partition that has it has, by partition.
func (r *Reader) Find(ctx context.Context, keys []string) ([][]Result, error) {
	reads, err := r.find(ctx, keys)
	if err != nil {
		return nil, err
	}
	all := make([][]Result, len(keys))
	for i := range keys {
		all[i], _ = pick(reads, i)
	}
	return all, nil
}

// partitionRead is what one unit answered: the results for some of the keys, by their place.
type partitionRead struct {
	unit    snapshotstore.Unit
	places  []int
	keys    []string
	results []Result
}

// pick collects the results of the key at a place: those that exist, or the one that says it does not.
func pick(reads []partitionRead, place int) (found []Result, missing Result) {
	for _, read := range reads {
		i, ok := slices.BinarySearch(read.places, place)
		if !ok {
			continue
		}
		result := read.results[i]
		switch {
		case result.Exists:
			found = append(found, result)
		case missing.Version == 0: // the first
			missing = result
		default:
			if result.Seq < missing.Seq {
				missing = result
			}
			missing.Partition = -1
		}
	}
	return found, missing
}

// ask shares the keys out to the units of a version that are to be asked.
func (r *Reader) ask(version int, keys []string) ([]partitionRead, error) {
	reads := make([]partitionRead, r.options.Partitions)
	for p := range reads {
		reads[p].unit = snapshotstore.Unit{Projection: r.options.Projection, Version: version, Partition: p}
	}
	for place, key := range keys {
		of := reads
		if r.options.PartitionOf != nil {
			p := r.options.PartitionOf(key)
			if p < 0 || p >= len(reads) {
				return nil, fmt.Errorf("read: PartitionOf says that key %q of %s is in partition %d of %d", key,
					r.options.Projection, p, len(reads))
			}
			of = reads[p : p+1]
		}
		for p := range of {
			of[p].places, of[p].keys = append(of[p].places, place), append(of[p].keys, key)
		}
	}
	return slices.DeleteFunc(reads, func(read partitionRead) bool { return len(read.keys) == 0 }), nil
}

// asked is how many partitions are asked at a time.
const asked = 8

// find reads keys of the version to be read, once that holds what is wanted.
func (r *Reader) find(ctx context.Context, keys []string) ([]partitionRead, error) {
	var reads []partitionRead
	err := r.await(ctx, func(version int) (err error) {
		if reads, err = r.ask(version, keys); err != nil {
			return err
		}
		group, ctx := errgroup.WithContext(ctx)
		group.SetLimit(asked)
		for i := range reads {
			group.Go(func() error { return r.read(ctx, &reads[i]) })
		}
		return group.Wait()
	})
	return reads, err
}

func (r *Reader) read(ctx context.Context, read *partitionRead) error {
	mark, values, err := r.store.Get(ctx, read.unit, read.keys)
	if err == nil {
		err = r.enough(read.unit, mark)
	}
	if err != nil {
		return err
	}
	read.results = make([]Result, len(values))
	for i, value := range values {
		read.results[i] = Result{Key: read.keys[i], Value: value.Data, Exists: value.Exists, Seq: mark.Seq,
			Partition: read.unit.Partition, Version: read.unit.Version, Mark: mark}
	}
	return nil
}
