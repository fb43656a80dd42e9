package redisstore

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tailfold/tailfold/snapshotstore"
)

// answer is an error that Redis sent.
type answer string

func (a answer) Error() string { return string(a) }
func (answer) RedisError()     {}

func TestEachErrorHasItsClass(t *testing.T) {
	noSentinel := func(errs ...error) error {
		return fmt.Errorf("redis: all sentinels specified in configuration are unreachable: %w", errors.Join(errs...))
	}
	for _, c := range []struct {
		err  error
		form form
		want snapshotstore.Class
		fix  string // part of it, "" for none
	}{
		{answer("LOADING Redis is loading the dataset in memory"), single, again, ""},
		{answer("BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE."), single, again, ""},
		{answer("TRYAGAIN Multiple keys request during rehashing of slot"), cluster, again, ""},
		{answer("CLUSTERDOWN The cluster is down"), cluster, again, ""},
		{answer("CLUSTERDOWN Hash slot not served"), cluster, again, ""},
		{answer("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."), single, again, ""},
		{answer("NOSCRIPT No matching script. Please use EVAL."), single, again, ""},
		{answer("MOVED 3999 127.0.0.1:6381"), cluster, again, ""},
		{answer("ASK 3999 127.0.0.1:6381"), cluster, again, ""},
		{answer("EXECABORT Transaction discarded because of previous errors."), single, again, ""},
		{answer("EXECABORT Transaction discarded because of: NOPERM this user has no permissions to run the 'evalsha' command"), single, wait, "~pre:* +eval"},
		{answer("ERR Script killed by user with SCRIPT KILL... script: 69, on @user_script:1."), single, again, ""},

		{answer("OOM command not allowed when used memory > 'maxmemory'."), single, wait, "raise maxmemory"},
		{answer("MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk."), single, wait, "its disk"},
		{answer("MISCONF Errors writing to the AOF file: No space left on device"), single, wait, "its disk"},
		{answer("NOREPLICAS Not enough good replicas to write."), single, wait, "min-replicas-to-write"},
		{answer("READONLY You can't write against a read only replica."), single, wait, "primary"},
		{answer("ERR WAIT cannot be used with replica instances. Please also note that since Redis 4.0 if a replica is configured to be writable (which is not the default) writes to replicas are just local and are not propagated."), single, wait, "become a replica"},
		{answer("ERR WAITAOF cannot be used with replica instances. Please also note that writes to replicas are just local and are not propagated."), single, wait, "become a replica"},
		{answer("UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)"), single, again, ""},
		{answer("ERR max number of clients reached"), single, wait, "maxclients"},
		{answer("NOAUTH Authentication required."), single, wait, "redis://user:password@host"},
		{answer("NOAUTH HELLO must be called with the client already authenticated"), single, wait, "redis://user:password@host"},
		{answer("WRONGPASS invalid username-password pair or user is disabled."), single, wait, "ACL LIST"},
		{answer("ERR invalid password"), single, wait, "password of the URL"},
		{answer("ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?"),
			single, wait, "requirepass"},
		{answer("NOPERM this user has no permissions to run the 'evalsha' command"), single, wait, "~pre:* +eval"},
		{answer("NOPERM this user has no permissions to access one of the keys used as arguments"), single, wait, "~pre:*"},
		{answer("NOPERM No permissions to access a key"), single, wait, "~pre:*"},
		{answer("ERR The user executing the script can't run this command or subcommand script: a8, on @user_script:3."), single, wait, "+hset"},
		{answer("ERR ACL failure in script: User bob has no permissions to run the 'hset' command script: a8"), single, wait, "+hset"},
		{answer("DENIED Redis is running in protected mode because protected mode is enabled"), single, wait, "protected mode"},
		{answer("ERR of a kind that nobody has seen"), single, wait, "does not know"},

		{answer("MOVED 3999 127.0.0.1:6381"), single, stop, "redis+cluster://"},
		{answer("CROSSSLOT Keys in request don't hash to the same slot"), cluster, stop, "hash tags"},
		{answer("ERR unknown command 'evalsha', with args beginning with: '1' '2' "), single, stop, "rename-command"},
		{answer("ERR Unknown Redis command called from script script: 20, on @user_script:1."), single, stop, "rename-command"},
		{answer("ERR This Redis command is not allowed from script script: 20"), single, stop, "7.0 or newer"},
		{answer("ERR Error compiling script (new function): user_script:1: unexpected symbol near '#'"), single, stop, "7.0 or newer"},
		{answer("ERR This instance has cluster support disabled"), cluster, stop, "use redis://"},
		{answer("ERR DB index is out of range"), single, stop, "database"},
		{answer("ERR SELECT is not allowed in cluster mode"), single, stop, "redis+cluster://"},
		{answer("WRONGTYPE Operation against a key holding the wrong kind of value"), single, stop, "prefix of its own"},
		{fmt.Errorf("redis 6.2.7: %w", errTooOld), single, stop, "upgrade"},
		{redis.ErrClosed, single, stop, ""},

		{io.EOF, single, again, ""},
		{io.ErrUnexpectedEOF, single, again, ""},
		{redis.ErrPoolTimeout, single, again, ""},
		{context.Canceled, single, again, ""},
		{context.DeadlineExceeded, single, again, ""},
		{&net.OpError{Op: "dial", Err: errors.New("connect: connection refused")}, single, again, ""},
		{&net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "h"}}, single, again, "resolved"},
		{&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}, single, wait, "?ca="},
		{&tls.CertificateVerificationError{Err: x509.HostnameError{Certificate: &x509.Certificate{}, Host: "h"}}, single, wait, "server_name"},
		{&tls.CertificateVerificationError{Err: x509.CertificateInvalidError{Reason: x509.Expired}}, single, wait, "renew"},
		{&net.OpError{Op: "remote error", Err: errors.New("tls: certificate required")}, single, wait, "?cert="},
		{tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"}, single, wait, "does not speak TLS"},

		{noSentinel(&net.OpError{Op: "dial", Err: errors.New("connection refused")}), sentinel, again, "no sentinel answers"},
		{noSentinel(redis.Nil), sentinel, wait, "SENTINEL MASTERS"},
		{noSentinel(answer("NOAUTH Authentication required.")), sentinel, wait, "sentinel_password"},
	} {
		class, fix := classify(fmt.Errorf("wrapped: %w", c.err), target{form: c.form}, "pre")
		if class != c.want || (fix == "") != (c.fix == "") || !strings.Contains(fix, c.fix) {
			t.Errorf("%v (form %d): class %d, fix %q; want %d, %q", c.err, c.form, class, fix, c.want, c.fix)
		}
	}
}

func TestAConnectionThatIsResetUnderTLSMayBeARefusal(t *testing.T) {
	for _, err := range []error{io.EOF, syscall.ECONNRESET, &net.OpError{Op: "write", Err: syscall.EPIPE}} {
		class, fix := classify(fmt.Errorf("wrapped: %w", err), target{tls: true}, "pre")
		if class != again || !strings.Contains(fix, "?cert=") {
			t.Errorf("%v: class %d, fix %q", err, class, fix)
		}
	}
}

func TestWhatIsToBeFixedIsSaidForEachAnswerThatDoesNotPass(t *testing.T) {
	for _, r := range rules {
		if (r.class == again) != (r.fix == "") {
			t.Errorf("%s has class %d and the fix %q", r.prefix, r.class, r.fix)
		}
	}
}
