package cmd

import (
	"context"
	"fmt"
	"slices"

	"github.com/tailfold/tailfold/consumer"
	"github.com/tailfold/tailfold/snapshotstore"
)

// crossing is a key that several partitions of a projection have: each holds what its own events make of it.
type crossing struct {
	Projection string `json:"projection"`
	Version    int    `json:"version"`
	Key        string `json:"key"`
	Partitions []int  `json:"partitions"`
}

func (c crossing) String() string {
	return fmt.Sprintf("%s/v%d: keys cross partitions: %q is in %v, with a value for the events of each. Readers get several answers; "+
		"to have one, partition the stream by what the key is made of, or keep the projection on an unpartitioned stream",
		c.Projection, c.Version, c.Key, c.Partitions)
}

// crossingSample is how many keys of a projection are looked at, and in how many other partitions: a stream that is
// partitioned by something else than the key has nearly all of them in several.
const crossingSample = 16

// crossing finds projections whose keys cross partitions, by a sample.
func (r *statusReader) crossing(ctx context.Context, rows []consumer.UnitStatus) ([]crossing, error) {
	type version struct {
		projection string
		version    int
	}
	partitions := map[version][]snapshotstore.Unit{}
	var order []version
	for _, row := range rows {
		v := version{row.Projection, row.Version}
		if partitions[v] == nil {
			order = append(order, v)
		}
		if row.Seq > 0 {
			partitions[v] = append(partitions[v], snapshotstore.Unit{Projection: row.Projection, Version: row.Version, Partition: row.Partition})
		}
	}
	var found []crossing
	for _, v := range order {
		units := partitions[v]
		if len(units) < 2 {
			continue
		}
		key, in, err := r.crosses(ctx, units)
		if err != nil {
			return found, err
		}
		if len(in) > 1 {
			found = append(found, crossing{v.projection, v.version, toUTF8(key), in})
		}
	}
	return found, nil
}

// crosses looks for keys of the first partition that has any in some of the others.
func (r *statusReader) crosses(ctx context.Context, units []snapshotstore.Unit) (key string, in []int, err error) {
	var keys []string
	first := 0
	for ; first < len(units) && len(keys) == 0; first++ {
		for entry, err := range r.store.Scan(ctx, units[first]) {
			if err != nil {
				return "", nil, err
			}
			if entry.Key == "" { // of a projection of one value there is one in each partition, as everybody knows
				break
			}
			if keys = append(keys, entry.Key); len(keys) == crossingSample {
				break
			}
		}
	}
	has := map[string][]int{}
	for i, u := range units {
		if i < first || i >= first+crossingSample || len(keys) == 0 {
			continue
		}
		_, values, err := r.store.Get(ctx, u, keys)
		if err != nil {
			return "", nil, err
		}
		for j, value := range values {
			if value.Exists {
				has[keys[j]] = append(has[keys[j]], u.Partition)
			}
		}
	}
	for _, key := range slices.Sorted(slices.Values(keys)) {
		if others := has[key]; len(others) > 0 {
			return key, append([]int{units[first-1].Partition}, others...), nil
		}
	}
	return "", nil, nil
}
