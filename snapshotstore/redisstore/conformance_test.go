package redisstore_test

import (
	"context"
	"testing"

	"github.com/tailfold/tailfold/snapshotstore"
	"github.com/tailfold/tailfold/snapshotstore/redisstore"
	"github.com/tailfold/tailfold/snapshotstore/redisstore/redistest"
	"github.com/tailfold/tailfold/snapshotstore/storetest"
)

func TestRedisKeepsTheContractOfAStore(t *testing.T) { keepsTheContract(t, 0) }

// Checkpoints in bulk keep it, too.
func TestRedisKeepsTheContractOfAStoreInBulk(t *testing.T) { keepsTheContract(t, 1) }

// keepsTheContract runs the suite with checkpoints of so many puts made in bulk, 0: as it is by default.
func keepsTheContract(t *testing.T, bulkFrom int) {
	open := func(t testing.TB, url string) *redisstore.Store {
		store := open(t, url)
		if bulkFrom > 0 {
			store.BulkFrom(bulkFrom)
		}
		return store
	}
	storetest.Run(t, func(t *testing.T) storetest.Harness {
		// A crash must lose nothing. By default Redis answers while its file is a second behind.
		server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
		proxy := redistest.StartProxy(t, server)
		first := open(t, proxy.URL())
		handles := []*redisstore.Store{first}
		another := func(t testing.TB) *redisstore.Store {
			store := open(t, server.URL())
			handles = append(handles, store)
			return store
		}
		return storetest.Harness{
			Store:   first,
			Another: func(t testing.TB) snapshotstore.Store { return another(t) },
			Crash: func(t testing.TB) snapshotstore.Store {
				for _, store := range handles {
					if err := store.Close(); err != nil {
						t.Fatal(err)
					}
				}
				server.Kill()
				server.Restart()
				return another(t)
			},
			SetMark: func(t testing.TB, unit snapshotstore.Unit, raw []byte) {
				setMark(t, server, first.Layout().Unit(unit), raw)
			},
			LoseReply: func(testing.TB) { proxy.LoseReply("eval") },
		}
	})
}

// setMark damages a mark behind the store's back.
func setMark(t testing.TB, server *redistest.Server, key string, raw []byte) {
	t.Helper()
	err := server.Client().HDel(context.Background(), key, redisstore.MarkField).Err()
	if raw != nil {
		err = server.Client().HSet(context.Background(), key, redisstore.MarkField, raw).Err()
	}
	if err != nil {
		t.Fatal(err)
	}
}
