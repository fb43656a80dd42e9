package natslog_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"

	"github.com/tailfold/tailfold/consumer"
	"github.com/tailfold/tailfold/consumer/logtest"
	"github.com/tailfold/tailfold/consumer/natslog"
	"github.com/tailfold/tailfold/consumer/natslog/natstest"
)

func members(t logtest.T, conn *nats.Conn, bucket string) *natslog.Members {
	t.Helper()
	m, err := natslog.NewMembers(natslog.MembersConfig{Conn: conn, Bucket: bucket, Timeout: 3 * time.Second})
	if err != nil {
		t.Fatalf("%v", err)
	}
	return m
}

func TestTheMembershipOnABucketKeepsThePromises(t *testing.T) {
	server := natstest.Start(t)
	one, two := server.Connect(), server.Connect()
	logtest.RunMembers(t, logtest.MembersHarness{New: func(t logtest.T) (a, b consumer.Membership) {
		bucket := "b" + nuid.Next()
		return members(t, one, bucket), members(t, two, bucket)
	}})
}

func TestTheBucketIsOneForTheKeyValueTools(t *testing.T) {
	server := natstest.Start(t)
	conn := server.Connect()
	m := members(t, conn, "tailfold-workers")
	if err := m.Put(t.Context(), "worker-1", []byte(`{"worker":"worker-1"}`)); err != nil {
		t.Fatal(err)
	}
	kv, err := natstest.JetStream(t, conn).KeyValue(t.Context(), "tailfold-workers")
	if err != nil {
		t.Fatal(err)
	}
	entry, err := kv.Get(t.Context(), "worker-1")
	if err != nil || string(entry.Value()) != `{"worker":"worker-1"}` {
		t.Errorf("the bucket has %v, %v", entry, err)
	}
	status, err := kv.Status(t.Context())
	if err != nil || status.TTL() != time.Minute || status.History() != 1 {
		t.Errorf("the bucket is %v, %v; want a minute, one value", status, err)
	}
	if err := kv.Delete(t.Context(), "worker-1"); err != nil { // by hand
		t.Fatal(err)
	}
	if err := kv.Purge(t.Context(), "worker-1"); err != nil {
		t.Fatal(err)
	}
	if err := m.Put(t.Context(), "worker-1", []byte("again")); err != nil {
		t.Error(err)
	}
}

func TestABucketThatIsRemovedIsMadeAgain(t *testing.T) {
	server := natstest.Start(t)
	conn := server.Connect()
	m := members(t, conn, "w")
	if err := m.Put(t.Context(), "worker-1", []byte("1")); err != nil {
		t.Fatal(err)
	}
	if err := natstest.JetStream(t, conn).DeleteKeyValue(t.Context(), "w"); err != nil {
		t.Fatal(err)
	}
	if err := m.Put(t.Context(), "worker-1", []byte("2")); err != nil {
		t.Error(err)
	}
}

// What a worker is not allowed to do is said at once and by name, with the way to do without.
func TestAMembershipWithoutPermissionSaysWhichOneIsMissing(t *testing.T) {
	rights := []string{"$KV.w.>", "$JS.API.STREAM.INFO.KV_w", "$JS.API.STREAM.CREATE.KV_w", "$JS.API.CONSUMER.CREATE.KV_w.>",
		"$JS.API.CONSUMER.MSG.NEXT.KV_w.>", "$JS.API.CONSUMER.DELETE.KV_w.>"}
	use := func(without string) (put, watch error) {
		var allowed []string
		for _, right := range rights {
			if right != without {
				allowed = append(allowed, `"`+right+`"`)
			}
		}
		server := natstest.Start(t, natstest.Options{Config: `authorization { users = [ { user: worker, password: secret, permissions {
			publish: [` + strings.Join(allowed, ", ") + `], subscribe: ["_INBOX.>"] } } ] }`})
		m := members(t, server.Connect(nats.UserInfo("worker", "secret")), "w")
		if put = m.Put(t.Context(), "worker-1", []byte("1")); put != nil {
			return put, nil
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		watch = m.Watch(ctx, func(c consumer.MemberChange) {
			if c.All {
				cancel()
			}
		})
		if ctx.Err() != nil {
			watch = nil
		}
		return nil, watch
	}
	if put, watch := use(""); put != nil || watch != nil {
		t.Fatalf("with all permissions of the documentation: %v, %v", put, watch)
	}
	for _, right := range rights[:5] {
		put, watch := use(right)
		err := put
		if err == nil {
			err = watch
		}
		if err == nil || !strings.Contains(err.Error(), "allow the user to publish to "+right) {
			t.Errorf("without %s: %v", right, err)
		}
		if put != nil && !strings.Contains(put.Error(), "assign: static") {
			t.Errorf("without %s nothing says how to do without a bucket: %v", right, put)
		}
	}
}
