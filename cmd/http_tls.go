package cmd

import (
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"go.uber.org/zap"
)

// certificate is the HTTP server's, read again when its files have changed: one that is renewed is shown from the next
// connection on.
type certificate struct {
	certFile, keyFile string

	mu        sync.Mutex
	pair      *tls.Certificate
	cert, key os.FileInfo // of the files that pair was read from
	log       *zap.Logger
	last      string // the last thing told, so that it is told once
}

func newCertificate(certFile, keyFile string) (*certificate, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile, log: zap.NewNop()}
	return c, c.read()
}

// tell logs, now and later, what is wrong with the certificate.
func (c *certificate) tell(log *zap.Logger) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.log = log.Named("http")
	c.tellExpiry()
}

func (c *certificate) config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.current(), nil }}
}

// current is the certificate of the files as they are now. Where they can't be used, because one of the two is not
// written yet, it is the one from before.
func (c *certificate) current() *tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	if unchanged(c.certFile, c.cert) && unchanged(c.keyFile, c.key) {
		return c.pair
	}
	if err := c.read(); err != nil {
		c.say(fmt.Sprintf("the changed certificate can't be used, the one from before is: %v", err))
		return c.pair
	}
	c.last = ""
	c.log.Info("took the changed certificate", zap.Time("expires", c.pair.Leaf.NotAfter))
	c.tellExpiry()
	return c.pair
}

func (c *certificate) tellExpiry() {
	if end := c.pair.Leaf.NotAfter; time.Now().After(end) {
		c.say(fmt.Sprintf("http.tls.cert has expired at %s: clients refuse it; renew it, it is read again without a restart", end.Format(time.RFC3339)))
	}
}

func (c *certificate) say(text string) {
	if text != c.last {
		c.last = text
		c.log.Warn(text)
	}
}

// read reads both files. What it saw of them before reading is kept, so that a change meanwhile is not missed.
func (c *certificate) read() error {
	cert, err := os.Stat(c.certFile)
	if err != nil {
		return err
	}
	key, err := os.Stat(c.keyFile)
	if err != nil {
		return err
	}
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("%s and %s are no certificate with its key: %w", c.certFile, c.keyFile, err)
	}
	c.pair, c.cert, c.key = &pair, cert, key
	return nil
}

func unchanged(file string, was os.FileInfo) bool {
	now, err := os.Stat(file)
	return err == nil && os.SameFile(now, was) && now.ModTime().Equal(was.ModTime()) && now.Size() == was.Size()
}

// trustOnly accepts the one certificate that a file holds first, as the worker with the same configuration shows it,
// whoever signed it and whatever names it has: loopback has none that an authority would sign.
func trustOnly(certFile string) (*tls.Config, error) {
	text, err := os.ReadFile(certFile)
	if err != nil {
		return nil, fmt.Errorf("http.tls.cert: %w", err)
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, fmt.Errorf("http.tls.cert: %s has no certificate in PEM form", certFile)
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true, //nolint:gosec // compared below, with more strictness
		VerifyConnection: func(state tls.ConnectionState) error {
			if len(state.PeerCertificates) > 0 && bytes.Equal(state.PeerCertificates[0].Raw, block.Bytes) {
				return nil
			}
			return fmt.Errorf("what answers there shows another certificate than %s: %w", certFile, errNotOurs)
		}}, nil
}

var errNotOurs = errors.New("name the configuration of that worker (http.tls.cert), or its address (--listen HOST:PORT)")

// checkHTTPAccess checks token and certificate, and warns of values that others can read.
func (d *decoder) checkHTTPAccess() {
	h := d.config.HTTP
	bad := func(r rune) bool { return r <= ' ' || r > '~' }
	if h.Token != "" && (len(h.Token) < 16 || bytes.ContainsFunc([]byte(h.Token), bad)) {
		d.wrong("http.token", "is shorter than 16 characters, or has others than printable ASCII without spaces: write "+
			"one that can't be guessed, such as openssl rand -hex 32 makes")
	}
	if (h.TLS.Cert == "") != (h.TLS.Key == "") {
		d.wrong(firstSet(d.config, "http.tls.cert", "http.tls.key"), "cert and key belong together: give both, or neither")
	}
	host, _, err := net.SplitHostPort(h.Listen)
	if err != nil || isLoopback(host) {
		return
	}
	warn := func(format string, args ...any) {
		d.config.Warnings = append(d.config.Warnings, fmt.Sprintf(format, args...))
	}
	switch {
	case h.Token == "":
		warn("http.listen is %s: whoever reaches it can read all values, since there is no http.token; set one, or "+
			"listen on 127.0.0.1", h.Listen)
	case h.TLS.Cert == "":
		warn("http.listen is %s: http.token and values go there unencrypted; set http.tls, or keep that network to "+
			"yourself", h.Listen)
	}
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
