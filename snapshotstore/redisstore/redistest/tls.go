package redistest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Certificates are files of a certificate authority made for one test, and of one certificate that it signed, for
// 127.0.0.1, which serves both the server and clients.
type Certificates struct {
	CA, Cert, Key string // paths of PEM files

	pool *x509.CertPool
	pair tls.Certificate

	authority    *x509.Certificate // nil where the files were loaded
	authorityKey *ecdsa.PrivateKey
}

// StartTLS starts a server that speaks TLS only and asks its clients for a certificate if "--tls-auth-clients", "yes"
// is among the settings.
func StartTLS(t testing.TB, certificates *Certificates, settings ...string) *Server {
	t.Helper()
	return start(t, &Server{args: settings, tls: certificates})
}

// settings are those of a server that has the certificates, nil for none, and uses them also towards other servers.
func (c *Certificates) settings() []string {
	if c == nil {
		return nil
	}
	return []string{"--tls-ca-cert-file", c.CA, "--tls-cert-file", c.Cert, "--tls-key-file", c.Key,
		"--tls-auth-clients", "no", "--tls-replication", "yes", "--tls-cluster", "yes"}
}

// MakeCertificates makes them, valid from an hour ago until the given time from now (negative: expired).
func MakeCertificates(t testing.TB, valid time.Duration) *Certificates {
	t.Helper()
	dir := t.TempDir()
	now := time.Now()
	c := &Certificates{CA: filepath.Join(dir, "ca.pem"), Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem"),
		pool: x509.NewCertPool(),
		authority: &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "redistest CA"},
			NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
			KeyUsage: x509.KeyUsageCertSign}}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	der, err := x509.CreateCertificate(rand.Reader, c.authority, c.authority, &key.PublicKey, key)
	must(t, err)
	write(t, c.CA, "CERTIFICATE", der)
	parsed, err := x509.ParseCertificate(der)
	must(t, err)
	c.pool.AddCert(parsed)
	c.authorityKey = key
	c.Renew(t, valid)
	return c
}

// Renew puts a new certificate of the same authority in place of the one before. A server reads it when it is started.
func (c *Certificates) Renew(t testing.TB, valid time.Duration) {
	t.Helper()
	now := time.Now()
	leaf := &x509.Certificate{SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: "redistest"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(valid), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	der, err := x509.CreateCertificate(rand.Reader, leaf, c.authority, &key.PublicKey, c.authorityKey)
	must(t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	write(t, c.Cert, "CERTIFICATE", der)
	write(t, c.Key, "PRIVATE KEY", keyDER)
	c.pair = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("redistest: certificates: %v", err)
	}
}

func write(t testing.TB, path, kind string, der []byte) {
	t.Helper()
	must(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
}

// LoadCertificates takes files that a test has made: those of an authority, and of a certificate of the server's. The
// server reads them each time it is started. The test's own client shows the certificate as it is now.
func LoadCertificates(t testing.TB, ca, cert, key string) *Certificates {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatalf("redistest: certificates: %v", err)
	}
	return &Certificates{CA: ca, Cert: cert, Key: key, pair: pair}
}

// config is for the test's own client, which must get through also where the certificate has expired.
func (c *Certificates) config() *tls.Config {
	return &tls.Config{RootCAs: c.pool, Certificates: []tls.Certificate{c.pair}, InsecureSkipVerify: true}
}
