package redisstore

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/redis/go-redis/v9"

	"github.com/tailfold/tailfold/snapshotstore"
)

// acl is what a user of Redis needs; WAIT only where replicas are asked for. CONFIG is for Check alone, which does without.
const acl = "+eval +evalsha +watch +unwatch +multi +exec +type +time +hget +hset +hmget +hdel +hlen +hscan +hgetall +get +set +del +unlink +wait +info +ping"

// rule says what to do about the errors of Redis that begin with a text.
type rule struct {
	prefix string
	class  snapshotstore.Class
	fix    string
}

const (
	again = snapshotstore.Again
	wait  = snapshotstore.Wait
	stop  = snapshotstore.Stop
)

// rules are all errors that Redis is known to answer with, the first that fits counts. PREFIX stands for the prefix.
var rules = []rule{
	// Passing: a start, a fail-over, a slot on its way, somebody's long script.
	{"LOADING", again, ""},
	{"BUSY ", again, ""},
	{"TRYAGAIN", again, ""},
	{"CLUSTERDOWN", again, ""},
	{"MASTERDOWN", again, ""},
	{"NOSCRIPT", again, ""},
	{"ASK ", again, ""},
	{"UNBLOCKED", again, ""},
	{"ERR Script killed by user", again, ""},
	{"UNKILLABLE", again, ""},
	{"EXECABORT", again, ""},
	{"CLUSTER_DOWN", again, ""},

	// Takes no writes for now.
	{"OOM", wait, "Redis is at maxmemory: free memory there or raise maxmemory; keep maxmemory-policy noeviction"},
	{"MISCONF", wait, "Redis can't write to its disk: free space or mend permissions there, see its log"},
	{"NOREPLICAS", wait, "too few replicas are connected for min-replicas-to-write: bring them back or lower it"},
	{"READONLY", wait, "this Redis is a replica: point the URL at the primary, or use redis+sentinel:// or redis+cluster://, " +
		"which follow it; during a fail-over this passes"},
	{"ERR WAIT", wait, "this Redis has become a replica: it tells of none of its own"}, // WAITAOF too
	{"ERR max number of clients reached", wait, "Redis has as many clients as it allows: raise maxclients or find who holds them"},

	// Refuses us; passwords and permissions rotate.
	{"NOAUTH", wait, "Redis asks for a password: put it into the URL, redis://user:password@host"},
	{"WRONGPASS", wait, "Redis does not accept user and password of the URL: ACL LIST on Redis shows its users; " +
		"special characters in a URL are percent-encoded"},
	{"ERR invalid password", wait, "Redis does not accept the password of the URL; special characters in a URL are percent-encoded"},
	{"ERR AUTH <password> called without any password configured", wait,
		"the URL has a password and Redis has none: remove it from the URL, or set requirepass on Redis"},
	{"ERR Client sent AUTH, but no password is set", wait,
		"the URL has a password and Redis has none: remove it from the URL, or set requirepass on Redis"},
	{"NOPERM", wait, "grant it on Redis: ACL SETUSER <user> ~PREFIX:* " + acl},
	{"ERR The user executing the script can't", wait, "grant it on Redis: ACL SETUSER <user> ~PREFIX:* " + acl},
	{"ERR ACL failure in script", wait, "grant it on Redis: ACL SETUSER <user> ~PREFIX:* " + acl},
	{"DENIED", wait, "Redis is in protected mode: give it a password, or bind it to an address that is not reachable from outside"},

	// Faults of set-up that no retry mends.
	{"CROSSSLOT", stop, "something between worker and Redis does not know hash tags: the part of a name within braces decides its slot"},
	{"ERR unknown command", stop, "Tailfold needs this command, on Redis 7.0 or newer or Valkey: is it renamed or disabled there " +
		"(rename-command), or is a proxy in between that lacks it?"},
	{"ERR Unknown Redis command called from script", stop,
		"Tailfold's scripts need this command: is it renamed or disabled on Redis (rename-command)?"},
	{"ERR This Redis command is not allowed from script", stop, "Tailfold needs Redis 7.0 or newer, or Valkey"},
	{"ERR Error compiling script", stop, "Tailfold needs Redis 7.0 or newer, or Valkey: older ones do not know the scripts' first line"},
	{"ERR Error running script", stop, "Tailfold needs Redis 7.0 or newer, or Valkey"},
	{"ERR This instance has cluster support disabled", stop, "this Redis is not a cluster: use redis://, not redis+cluster://"},
	{"ERR DB index is out of range", stop, "Redis has no database of this number: change the URL's last part, or `databases` on Redis"},
	{"ERR SELECT is not allowed in cluster mode", stop, "a cluster has only database 0: use redis+cluster:// and no database"},
	{"ERR invalid DB index", stop, "Redis has no database of this number: change the URL's last part, or `databases` on Redis"},
	{"WRONGTYPE", stop, "something else writes at this name: give Tailfold a prefix of its own, or remove the key from Redis"},
}

// classify says what to do about an error of go-redis, and what an operator can do, "" if nothing but wait. Errors of
// the connection pass; what Redis says and we do not know is tried again slowly, and told.
func classify(err error, t target, prefix string) (class snapshotstore.Class, fix string) {
	if t.form == sentinel && strings.Contains(err.Error(), "all sentinels") {
		return classifySentinels(err)
	}
	answer, isAnswer := errors.AsType[redis.Error](err)
	if !isAnswer {
		return classifyConnection(err, t)
	}
	text := answer.Error()
	if strings.HasPrefix(text, "MOVED ") {
		if t.form == cluster {
			return again, "" // more redirections than go-redis follows: slots are moving
		}
		return stop, "this Redis is a node of a cluster: use redis+cluster://"
	}
	if aborted, cause, ok := strings.Cut(text, "NOPERM"); ok && strings.HasPrefix(aborted, "EXECABORT") {
		text = "NOPERM" + cause // the transaction fails for what it was refused
	}
	for _, r := range rules {
		if strings.HasPrefix(text, r.prefix) {
			return r.class, strings.ReplaceAll(r.fix, "PREFIX", prefix)
		}
	}
	return wait, "Redis answered what Tailfold does not know: look at Redis and its log"
}

// classifySentinels is for the error that no sentinel told the primary's address, whatever it is that each of them said.
func classifySentinels(err error) (snapshotstore.Class, string) {
	text := err.Error()
	switch {
	case strings.Contains(text, "NOAUTH"), strings.Contains(text, "WRONGPASS"), strings.Contains(text, "NOPERM"):
		return wait, "the sentinels want user and password of their own: …?sentinel_username=…&sentinel_password=…"
	case errors.Is(err, redis.Nil):
		return wait, "the sentinels know no master of that name: SENTINEL MASTERS on one of them shows which they know"
	}
	return again, "no sentinel answers: check their addresses in the URL"
}

func classifyConnection(err error, t target) (snapshotstore.Class, string) {
	switch {
	case errors.Is(err, redis.ErrClosed):
		return stop, "" // ours: the store was closed
	case errors.Is(err, errTooOld):
		return stop, "upgrade it"
	case errors.Is(err, context.DeadlineExceeded) && t.tls:
		return again, "if this goes on: a port that does not speak TLS never answers; try a URL that begins with redis instead of rediss"
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return again, ""
	case is[x509.UnknownAuthorityError](err):
		return wait, "name the authority that signed Redis's certificate: rediss://…?ca=/path/to/ca.pem"
	case is[x509.HostnameError](err):
		return wait, "Redis's certificate is for other hosts: use one of them in the URL, or …?server_name=<one of them>"
	case is[x509.CertificateInvalidError](err), is[*tls.CertificateVerificationError](err):
		return wait, "renew Redis's certificate"
	case strings.Contains(err.Error(), "remote error: tls: "): // an alert, which has no type outside crypto/tls
		return wait, "Redis refuses our side of TLS: give it a certificate that it accepts and that has not expired, rediss://…?cert=…&key=…"
	case t.tls && (errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)):
		// With TLS 1.3 a server refuses a certificate after the client's handshake. What the client has sent meanwhile makes
		// the server's kernel reset the connection, and its alert is lost.
		return again, "if this goes on, Redis may refuse our side of TLS: give it a certificate that it accepts and that has not expired, " +
			"rediss://…?cert=…&key=…; Redis's log says why"
	case is[tls.RecordHeaderError](err):
		return wait, "this port does not speak TLS: use its TLS port, or a URL that begins with redis instead of rediss"
	case is[*net.DNSError](err):
		return again, "the name of the host can't be resolved: check the URL's host"
	}
	return again, ""
}

func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}
