package read

import (
	"fmt"
	"hash/fnv"

	"github.com/go-json-experiment/json"
)

// JSON decodes the value of a projection with the default codec, JSON. The value of a key that does not exist is the
// zero V.
func JSON[V any](result Result) (V, error) {
	var value V
	if !result.Exists {
		return value, nil
	}
	if err := json.Unmarshal(result.Value, &value); err != nil {
		var none V
		return none, fmt.Errorf("read: the value of key %q at seq %d is not a %T: %w", result.Key, result.Seq, none, err)
	}
	return value, nil
}

// Partition is the partition, of n, that a NATS server puts a subject token into: FNV-1a of 32 bits, modulo n.
func Partition(token string, n int) int {
	if n <= 1 {
		return 0
	}
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(token))
	return int(hash.Sum32() % uint32(n))
}
