package cmd

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/tailfold/tailfold/consumer/natslog/natstest"
	"github.com/tailfold/tailfold/snapshotstore/redisstore/redistest"
)

// encrypted is a worker between a NATS and a Redis that both speak TLS, of which one has files of its own.
type encrypted struct {
	t      *testing.T
	a      *authority // of the side that is looked at
	other  *authority // whom nobody trusts
	server *natstest.Server
	redis  *redistest.Server
	args   []string
}

// newEncrypted makes both servers. spoil changes the files of one side, before its server is started; mutual: that server
// asks for a certificate; bare: the worker shows none.
func newEncrypted(t *testing.T, side string, spoil func(e *encrypted), mutual, bare bool) *encrypted {
	t.Helper()
	e := &encrypted{t: t, a: newAuthority(t), other: newAuthority(t)}
	plain := newAuthority(t) // of the side that is in order
	for _, a := range []*authority{e.a, e.other, plain} {
		a.issue("server", leaf{})
		a.issue("client", leaf{})
	}
	spoil(e)
	forNATS, forRedis := e.a, plain
	if side == "redis" {
		forNATS, forRedis = plain, e.a
	}
	e.server = natstest.Start(t, natstest.Options{Config: fmt.Sprintf("tls { cert_file: %q, key_file: %q, ca_file: %q, verify: %v }",
		forNATS.file("server.pem"), forNATS.file("server.key"), forNATS.file("ca.pem"), mutual && side == "nats")})
	e.redis = redistest.StartTLS(t, redistest.LoadCertificates(t, forRedis.file("ca.pem"), forRedis.file("server.pem"), forRedis.file("server.key")),
		map[bool][]string{true: {"--tls-auth-clients", "yes"}}[mutual && side == "redis"]...)
	natsTLS := fmt.Sprintf("ca: %q", forNATS.file("ca.pem"))
	redisURL := "rediss://" + e.redis.Addr() + "/0?ca=" + forRedis.file("ca.pem")
	if !bare {
		natsTLS += fmt.Sprintf(", cert: %q, key: %q", forNATS.file("client.pem"), forNATS.file("client.key"))
		redisURL += "&cert=" + forRedis.file("client.pem") + "&key=" + forRedis.file("client.key")
	}
	e.args = []string{"-c", configFile(t, fmt.Sprintf("%snats: {url: %q, tls: {%s}}\nstore: {redis: %q}\n",
		totals, e.server.URL(), natsTLS, redisURL))}
	return e
}

// fill makes the stream, with the test's own client, which does not look at the server's certificate.
func (e *encrypted) fill(from int, natsSide *authority) {
	e.t.Helper()
	conn := e.server.Connect(nats.RootCAs(natsSide.file("ca.pem")), nats.ClientCert(natsSide.file("client.pem"), natsSide.file("client.key")))
	if from == 0 {
		orders(e.t, conn, 5)
		return
	}
	publish(e.t, natstest.JetStream(e.t, conn), from, 5)
}

func TestAWorkerOverTLSReadsWithThePlainReaderAndSurvivesRenewedCertificates(t *testing.T) {
	for _, side := range []string{"nats", "redis"} {
		t.Run(side, func(t *testing.T) {
			t.Parallel()
			e := newEncrypted(t, side, func(*encrypted) {}, true, false)
			natsSide := e.a
			if side == "redis" {
				natsSide = nil
			}
			worker := start(t, nil, e.args...)
			if natsSide != nil {
				e.fill(0, natsSide)
				worker.ready()
				if !strings.Contains(worker.program.stderr.String(), "plain reader: the connection is encrypted") {
					t.Error("the log does not say that the plain reader is used")
				}
			} else {
				await(t, "the store to be used", func() bool { return strings.Contains(worker.program.stderr.String(), "LOG_UNAVAILABLE") })
			}
			if strings.Contains(worker.program.stderr.String(), "fast reader") || strings.Contains(worker.program.stderr.String(), "STORE_UNAVAILABLE") {
				t.Error("the fast reader was used, or the store away")
			}
			e.a.issue("server", leaf{})
			e.a.issue("client", leaf{})
			if side == "redis" {
				e.redis.Restart()
				await(t, "the store to be back", func() bool {
					code, body := get(t, worker.base+"/api/v1/status")
					return code == http.StatusOK && !strings.Contains(body, "STORE_UNAVAILABLE")
				})
				return
			}
			e.server.Restart()
			e.fill(5, natsSide)
			await(t, "the events after the renewal", func() bool {
				_, body := get(t, worker.base+"/api/v1/status")
				return strings.Contains(body, `"seq":10`)
			})
		})
	}
}

func TestTLSThatIsWrongIsToldAndMendedWithoutRestart(t *testing.T) {
	server := func(e *encrypted) { e.a.issue("server", leaf{}) }
	client := func(e *encrypted) { e.a.issue("client", leaf{}) }
	of := func(name string) func(*encrypted) {
		return func(e *encrypted) {
			e.a.write(name+".pem", e.other.read(name+".pem"))
			e.a.write(name+".key", e.other.read(name+".key"))
		}
	}
	for _, c := range []struct {
		name         string
		spoil, mend  func(*encrypted)
		mutual, bare bool
		nats, redis  []string // what is said of it
	}{
		{name: "an authority that is not known", spoil: of("server"), mend: server,
			nats:  []string{"unknown authority", "under nats.tls.ca"},
			redis: []string{"unknown authority", "?ca="}},
		{name: "another host's", spoil: func(e *encrypted) { e.a.issue("server", leaf{names: []string{"elsewhere.example"}}) }, mend: server,
			nats:  []string{"127.0.0.1", "use one of these in nats.url"},
			redis: []string{"127.0.0.1", "server_name="}},
		{name: "an expired one", spoil: func(e *encrypted) { e.a.issue("server", leaf{expired: true}) }, mend: server,
			nats:  []string{"expired", "renew the server's certificate"},
			redis: []string{"expired", "renew Redis's certificate"}},
		{name: "none of ours", spoil: func(*encrypted) {}, mutual: true, bare: true,
			nats:  []string{"nats.tls.cert and nats.tls.key"},
			redis: []string{"?cert=…&key=…"}},
		{name: "ours of another authority", spoil: of("client"), mend: client, mutual: true,
			nats:  []string{"nats.tls.cert and nats.tls.key"},
			redis: []string{"?cert=…&key=…"}},
		{name: "ours expired", spoil: func(e *encrypted) { e.a.issue("client", leaf{expired: true}) }, mend: client, mutual: true,
			nats:  []string{"nats.tls.cert and nats.tls.key"},
			redis: []string{"?cert=…&key=…"}},
	} {
		for side, want := range map[string][]string{"nats": c.nats, "redis": c.redis} {
			t.Run(c.name+" "+side, func(t *testing.T) {
				t.Parallel()
				verdict := map[string]string{"nats": "LOG_UNAVAILABLE", "redis": "STORE_UNAVAILABLE"}[side]
				e := newEncrypted(t, side, c.spoil, c.mutual, c.bare)
				worker := start(t, nil, e.args...)
				detail := ""
				await(t, verdict, func() bool {
					for _, line := range strings.Split(worker.program.stderr.String(), "\n") {
						if strings.Contains(line, verdict) && containsAll(line, want) {
							detail = line
						}
					}
					return detail != ""
				})
				if _, body := get(t, worker.base+"/readyz"); !strings.Contains(body, verdict) {
					t.Errorf("readyz says %s", body)
				}
				await(t, "status to say so", func() bool { // what the worker says in the store is renewed each second
					code, out, errs := call(t, append([]string{"status", "--json"}, e.args...)...)
					return (side == "nats" || code == 3) && containsAll(out+errs, want[len(want)-1:])
				})
				if c.mend == nil {
					return
				}
				c.mend(e)
				if side == "redis" {
					e.redis.Restart()
				} else {
					e.server.Restart()
				}
				await(t, "the worker to go on without a restart", func() bool {
					_, body := get(t, worker.base+"/api/v1/status")
					// The stream was never made: the log that says so has answered.
					return side == "nats" && strings.Contains(body, "does not exist") ||
						side == "redis" && strings.Contains(body, "LOG_UNAVAILABLE")
				})
			})
		}
	}
}

func containsAll(text string, parts []string) bool {
	for _, part := range parts {
		if !strings.Contains(text, part) {
			return false
		}
	}
	return true
}
