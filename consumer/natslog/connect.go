package natslog

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// Connect makes a connection that lasts until it is closed: it waits for a server that is not there yet, and comes back
// after every loss, also after one by a refused login, because credentials are renewed. An error is a mistake in the
// options; none holds a secret.
func Connect(options Options) (*nats.Conn, error) {
	o, err := options.Resolve()
	if err != nil {
		return nil, err
	}
	login, err := o.login()
	if err != nil {
		return nil, fmt.Errorf("connect to NATS: %w", err)
	}
	urls, err := o.urls()
	if err != nil {
		return nil, fmt.Errorf("connect to NATS: %w", err)
	}
	reader, err := o.reader()
	if err != nil {
		return nil, fmt.Errorf("connect to NATS: %w", err)
	}
	told := make(chan struct{})
	conn, err := nats.Connect(strings.Join(urls, ","), slices.Concat(o.lasting(sync.OnceFunc(func() { close(told) })), reader, login)...)
	if err != nil {
		return nil, fmt.Errorf("connect to NATS: %w", o.scrub(err, urls))
	}
	awaitOutcome(conn, told)
	return conn, nil
}

// lasting are the settings of a connection that outlives what happens to its server.
// first is called when the outcome of the first attempt is known.
func (o Options) lasting(first func()) []nats.Option {
	options := []nats.Option{
		nats.Name(o.Name),
		nats.Timeout(o.timeout()),
		nats.MaxReconnects(-1),
		nats.RetryOnFailedConnect(true),
		nats.IgnoreAuthErrorAbort(),
		nats.PingInterval(20 * time.Second),
	}
	if o.InboxPrefix != "" {
		options = append(options, nats.CustomInboxPrefix(strings.TrimSuffix(o.InboxPrefix, ".")))
	}
	if o.TLSFirst {
		options = append(options, nats.TLSHandshakeFirst())
	}
	tell := o.Notify
	if tell == nil {
		tell = func(string, error) {}
	}
	return append(options,
		nats.ConnectHandler(func(conn *nats.Conn) {
			noteFailure(conn, nil)
			first()
			tell("connected", nil)
			tellReader(conn, tell)
		}),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { tell("disconnected", err) }),
		nats.ReconnectHandler(func(conn *nats.Conn) {
			noteFailure(conn, nil)
			first()
			tell("reconnected", nil)
			tellReader(conn, tell)
		}),
		nats.ReconnectErrHandler(func(conn *nats.Conn, err error) {
			noteFailure(conn, err)
			first()
			tell("not connected", withFix(err))
		}),
		nats.ClosedHandler(func(*nats.Conn) { tell("closed", nil) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			if !errors.Is(err, nats.ErrBadHeaderMsg) { // the reader asks for the header as it was stored
				tell("error", err)
			}
		}),
	)
}

func (o Options) timeout() time.Duration {
	if o.Timeout == 0 {
		return 5 * time.Second
	}
	return o.Timeout
}

// reader are the options of the way in which readers get their events.
func (o Options) reader() ([]nats.Option, error) {
	switch o.Reader {
	case "", ReaderAuto:
		return []nats.Option{nats.SetCustomDialer(NewTap(&net.Dialer{Timeout: o.timeout()}))}, nil
	case ReaderPlain:
		return []nats.Option{nats.SetCustomDialer(&plainDialer{CustomDialer: &net.Dialer{Timeout: o.timeout()}})}, nil
	}
	return nil, fmt.Errorf("there is no reader %q: want %s or %s", o.Reader, ReaderAuto, ReaderPlain)
}

// tellReader tells which reader is used, unless that was told.
func tellReader(conn *nats.Conn, tell func(string, error)) {
	tap := tapOf(conn)
	if tap == nil {
		if conn.Stats().Reconnects == 0 {
			tell("plain reader: as configured", nil)
		}
		return
	}
	if news := tap.news(); news != "" {
		tell(news, nil)
	}
}

// login are the options of the one way to log in, and of TLS. Files are looked at now: a connection that is tried again
// for ever would never say that one is missing.
func (o Options) login() ([]nats.Option, error) {
	var ways []string
	var options []nats.Option
	if o.Creds != "" {
		if err := readable("creds", o.Creds); err != nil {
			return nil, err
		}
		ways, options = append(ways, "creds"), append(options, nats.UserCredentials(o.Creds))
	}
	if o.NKey != "" {
		option, err := nats.NkeyOptionFromSeed(o.NKey)
		if err != nil {
			return nil, fmt.Errorf("nkey: %s is not a file with the seed of a user: %w", o.NKey, err)
		}
		ways, options = append(ways, "nkey"), append(options, option)
	}
	switch {
	case o.User != "" && o.Password != "":
		ways, options = append(ways, "user"), append(options, nats.UserInfo(o.User, o.Password))
	case o.User != "":
		ways, options = append(ways, "user"), append(options, nats.Token(o.User))
	case o.Password != "":
		return nil, errors.New("there is a password without a user")
	}
	if o.Token != "" {
		ways, options = append(ways, "token"), append(options, nats.Token(o.Token))
	}
	if o.jwt != "" {
		ways, options = append(ways, "user_jwt"), append(options, nats.UserJWTAndSeed(o.jwt, o.seed))
	}
	if len(ways) > 1 {
		return nil, fmt.Errorf("there are several ways to log in (%s): keep one", strings.Join(ways, ", "))
	}
	if (o.Cert == "") != (o.Key == "") {
		return nil, errors.New("a client certificate needs both cert and key")
	}
	for what, file := range map[string]string{"cert": o.Cert, "key": o.Key, "ca": o.CA} {
		if file != "" {
			if err := readable(what, file); err != nil {
				return nil, err
			}
		}
	}
	if o.Cert != "" {
		options = append(options, nats.ClientCert(o.Cert, o.Key))
	}
	if o.CA != "" {
		options = append(options, nats.RootCAs(o.CA))
	}
	return options, nil
}

func readable(what, name string) error {
	file, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return file.Close()
}

// urls checks the servers' addresses. Its errors do not quote them: they may hold a password.
func (o Options) urls() ([]string, error) {
	if strings.TrimSpace(o.URL) == "" {
		return []string{nats.DefaultURL}, nil
	}
	parts := strings.Split(o.URL, ",")
	urls := make([]string, len(parts))
	for i, part := range parts {
		part = strings.TrimSpace(part)
		if !strings.Contains(part, "://") {
			part = "nats://" + part
		}
		parsed, err := url.Parse(part)
		if err != nil || parsed.Hostname() == "" {
			return nil, fmt.Errorf("server URL %d of %d can't be read: want nats://host:port, with what is special in a "+
				"user name or password percent-encoded", i+1, len(parts))
		}
		switch parsed.Scheme {
		case "nats", "tls", "ws", "wss":
		default:
			return nil, fmt.Errorf("server URL %d of %d has the scheme %q: want nats, tls, ws or wss", i+1, len(parts),
				parsed.Scheme)
		}
		urls[i] = part
	}
	return urls, nil
}

// scrub takes secrets out of an error that another package made.
func (o Options) scrub(err error, urls []string) error {
	secrets := []string{o.Password, o.Token, o.seed, o.jwt}
	if o.Password == "" {
		secrets = append(secrets, o.User)
	}
	for _, text := range urls {
		if parsed, err := url.Parse(text); err == nil && parsed.User != nil {
			password, _ := parsed.User.Password()
			secrets = append(secrets, password, parsed.User.String())
		}
	}
	text := err.Error()
	for _, secret := range secrets {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "xxxxx")
		}
	}
	if text == err.Error() {
		return err
	}
	return errors.New(text)
}
