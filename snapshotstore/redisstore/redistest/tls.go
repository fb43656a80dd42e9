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
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("redistest: certificates: %v", err)
		}
	}
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		must(os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
		return path
	}
	now := time.Now()
	authority := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "redistest CA"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign}
	authorityKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	authorityDER, err := x509.CreateCertificate(rand.Reader, authority, authority, &authorityKey.PublicKey, authorityKey)
	must(err)
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "redistest"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(valid), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	leafKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, authority, &leafKey.PublicKey, authorityKey)
	must(err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(leafKey)
	must(err)
	parsed, err := x509.ParseCertificate(authorityDER)
	must(err)
	c := &Certificates{
		CA:   write("ca.pem", "CERTIFICATE", authorityDER),
		Cert: write("cert.pem", "CERTIFICATE", leafDER),
		Key:  write("key.pem", "PRIVATE KEY", keyDER),
		pool: x509.NewCertPool(),
		pair: tls.Certificate{Certificate: [][]byte{leafDER}, PrivateKey: leafKey},
	}
	c.pool.AddCert(parsed)
	return c
}

// config is for the test's own client, which must get through also where the certificate has expired.
func (c *Certificates) config() *tls.Config {
	return &tls.Config{RootCAs: c.pool, Certificates: []tls.Certificate{c.pair}, InsecureSkipVerify: true}
}
