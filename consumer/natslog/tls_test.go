package natslog_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tailfold/tailfold/consumer/natslog"
	"github.com/tailfold/tailfold/consumer/natslog/natstest"
)

// authority issues certificates.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t, dir: t.TempDir()}
	a.cert, a.key = a.issue("ca", &x509.Certificate{IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign})
	return a
}

// issue writes <name>.pem and <name>.key.
func (a *authority) issue(name string, cert *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	cert.SerialNumber, cert.Subject = big.NewInt(time.Now().UnixNano()), pkix.Name{CommonName: name}
	cert.NotBefore = time.Now().Add(-time.Hour)
	if cert.NotAfter.IsZero() {
		cert.NotAfter = time.Now().Add(time.Hour)
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = cert, key
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	for suffix, block := range map[string]*pem.Block{
		".pem": {Type: "CERTIFICATE", Bytes: der}, ".key": {Type: "EC PRIVATE KEY", Bytes: keyDER},
	} {
		if err := os.WriteFile(a.file(name+suffix), pem.EncodeToMemory(block), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	issued, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return issued, key
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

func TestConnectionIsEncryptedAndBothSidesAreKnown(t *testing.T) {
	a := newAuthority(t)
	a.issue("server", &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	a.issue("client", &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	for _, first := range []bool{false, true} {
		t.Run(fmt.Sprintf("handshake first %v", first), func(t *testing.T) {
			server := natstest.Start(t, natstest.Options{Config: fmt.Sprintf(
				"tls { cert_file: %q, key_file: %q, ca_file: %q, verify: true, handshake_first: %v }",
				a.file("server.pem"), a.file("server.key"), a.file("ca.pem"), first)})
			conn, _ := connect(t, natslog.Options{URL: server.URL(), TLSFirst: first, CA: a.file("ca.pem"),
				Cert: a.file("client.pem"), Key: a.file("client.key")})
			if state, err := conn.TLSConnectionState(); err != nil || !state.HandshakeComplete {
				t.Errorf("the connection is not encrypted: %v", err)
			}
		})
	}
}

// What is wrong with TLS is said with the way out; once it is mended, on the server or on this side's disk, the same
// connection comes back.
func TestWhatIsWrongWithTLSIsSaidAndMendedWithoutANewConnection(t *testing.T) {
	loopback := []net.IP{net.IPv4(127, 0, 0, 1)}
	forServers, forClients := []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	past := time.Now().Add(-time.Minute)
	goodServer := func(a *authority) {
		a.issue("server", &x509.Certificate{IPAddresses: loopback, ExtKeyUsage: forServers})
	}
	goodClient := func(a *authority) { a.issue("client", &x509.Certificate{ExtKeyUsage: forClients}) }
	take := func(a, from *authority, name string) {
		for _, suffix := range []string{".pem", ".key"} {
			text, err := os.ReadFile(from.file(name + suffix))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(a.file(name+suffix), text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, c := range []struct {
		name     string
		spoil    func(a, other *authority)
		mend     func(a *authority)
		noClient bool
		want     []string
	}{
		{name: "unknown authority", spoil: func(a, other *authority) { goodServer(other); take(a, other, "server") }, mend: goodServer,
			want: []string{"unknown authority", "nats.tls.ca"}},
		{name: "wrong host", spoil: func(a, _ *authority) {
			a.issue("server", &x509.Certificate{DNSNames: []string{"elsewhere.example"}, IPAddresses: []net.IP{net.IPv4(10, 0, 0, 9)}, ExtKeyUsage: forServers})
		}, mend: goodServer, want: []string{"valid for 10.0.0.9, not 127.0.0.1", "use one of these in nats.url"}},
		{name: "expired", spoil: func(a, _ *authority) {
			a.issue("server", &x509.Certificate{IPAddresses: loopback, NotAfter: past, ExtKeyUsage: forServers})
		}, mend: goodServer, want: []string{"expired", "renew the server's certificate"}},
		{name: "no client certificate", noClient: true, spoil: func(*authority, *authority) {},
			want: []string{"nats.tls.cert and nats.tls.key"}},
		{name: "client certificate of another authority", spoil: func(a, other *authority) { goodClient(other); take(a, other, "client") },
			mend: goodClient, want: []string{"nats.tls.cert and nats.tls.key"}},
		{name: "expired client certificate", spoil: func(a, _ *authority) {
			a.issue("client", &x509.Certificate{NotAfter: past, ExtKeyUsage: forClients})
		}, mend: goodClient, want: []string{"nats.tls.cert and nats.tls.key"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, other := newAuthority(t), newAuthority(t)
			goodServer(a)
			goodClient(a)
			c.spoil(a, other)
			server := natstest.Start(t, natstest.Options{Config: fmt.Sprintf(
				"tls { cert_file: %q, key_file: %q, ca_file: %q, verify: true }", a.file("server.pem"), a.file("server.key"), a.file("ca.pem"))})
			options := natslog.Options{URL: server.URL(), CA: a.file("ca.pem"), Cert: a.file("client.pem"), Key: a.file("client.key")}
			if c.noClient {
				options.Cert, options.Key = "", ""
			}
			conn, err := natslog.Connect(options)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			log, err := natslog.New(natslog.Config{Conn: conn, Stream: "ORDERS", Worker: "w"})
			if err != nil {
				t.Fatal(err)
			}
			last := ""
			says := func() bool {
				_, err := log.Bounds(t.Context())
				last = fmt.Sprint(err)
				for _, want := range c.want {
					if !strings.Contains(last, want) {
						return false
					}
				}
				return true
			}
			if !soon(says) {
				t.Fatalf("it says\n%s\nand not %q", last, c.want)
			}
			if c.mend == nil {
				return
			}
			c.mend(a)
			server.Restart()
			if !soon(conn.IsConnected) {
				t.Fatalf("it does not come back: %v", conn.LastError())
			}
		})
	}
}

// soon tries until so is true, half a minute at most.
func soon(so func() bool) bool {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(30 * time.Second); !so(); <-tick.C {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}
