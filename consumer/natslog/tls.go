package natslog

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"strings"

	"github.com/nats-io/nats.go"
)

// tlsFix says what an operator can do about a connection that failed over TLS, "" where it did not. The files are read
// again for each attempt, so that all of it helps without a restart, but what changes the configuration.
func tlsFix(err error) string {
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired {
		return "renew the server's certificate, or set this machine's clock right"
	}
	switch {
	case is[x509.UnknownAuthorityError](err):
		return "name the authority that signed the server's certificate under nats.tls.ca"
	case is[x509.HostnameError](err):
		return "the server's certificate is for other hosts: use one of these in nats.url, or give the server one for its own"
	case is[x509.CertificateInvalidError](err), is[*tls.CertificateVerificationError](err):
		return "give the server a certificate that is valid"
	case strings.Contains(err.Error(), "remote error: tls: "), // an alert, which has no type outside crypto/tls
		strings.Contains(err.Error(), "after TLS handshake"): // with TLS 1.3 the alert may be lost in a reset
		return "the server refuses our side of TLS: give it a client certificate that it accepts and that has not expired, " +
			"under nats.tls.cert and nats.tls.key"
	case is[tls.RecordHeaderError](err):
		return "one side begins with TLS, the other does not: nats.tls.first must be as the server's handshake_first"
	case errors.Is(err, nats.ErrSecureConnWanted):
		return "the server does not speak TLS: enable it there, or use nats:// and no nats.tls"
	case errors.Is(err, nats.ErrSecureConnRequired):
		return "the server wants TLS: use tls:// in nats.url"
	}
	return ""
}

func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}
