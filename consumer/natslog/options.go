package natslog

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
)

// Options say where the NATS server is and how to log in, in the terms of the nats command line tool. The zero value
// connects to 127.0.0.1:4222.
type Options struct {
	// URL of the server, or several with commas between them. Default nats://127.0.0.1:4222.
	URL string
	// Context is the name of a context of the nats command line tool, or the path of its file. What is set here wins
	// over it; where here is a way to log in, the context's way is not used.
	Context string
	// ContextDir is where contexts are. Default $XDG_CONFIG_HOME/nats/context, else ~/.config/nats/context.
	ContextDir string

	// One way to log in at most.
	Creds          string // file with JWT and seed
	NKey           string // file with the seed of an nkey
	User, Password string // a user without a password is taken for a token, as the command line tool does
	Token          string

	Cert, Key string // files with the client's certificate and key
	CA        string // file with the certificates that are trusted
	TLSFirst  bool   // handshake before the server's greeting

	// Domain and APIPrefix say where JetStream is; give them to New (Config), after Resolve has read the context.
	Domain, APIPrefix string
	// InboxPrefix is where answers are sent. Default _INBOX.
	InboxPrefix string

	// Name tells the server whose connection it is.
	Name string
	// Timeout bounds connecting to one server. Default 5 s.
	Timeout time.Duration
	// Reader is how readers get their events. ReaderAuto, the default: straight out of the server's stream (Tap), where it
	// can be read under the client, else from the client. ReaderPlain: always from the client.
	Reader string

	// Notify is told what happens to the connection: "connected", "disconnected", "reconnected", "not connected",
	// "closed", "error", and which reader is used, once and whenever that changes: "fast reader", or "plain reader: " and
	// why. It is called from a goroutine of the connection's and must not block. Default: nobody is told.
	Notify func(event string, err error)

	jwt, seed string // of a context
}

// Values of Options.Reader.
const (
	ReaderAuto  = "auto"
	ReaderPlain = "plain"
)

// OptionsFromEnv reads the environment variables of the nats command line tool: NATS_URL, NATS_CONTEXT, NATS_CREDS,
// NATS_NKEY, NATS_USER, NATS_PASSWORD, NATS_CERT, NATS_KEY, NATS_CA, NATS_TIMEOUT. lookup is os.LookupEnv.
func OptionsFromEnv(lookup func(string) (string, bool)) (Options, error) {
	get := func(name string) string {
		value, _ := lookup(name)
		return value
	}
	o := Options{
		URL:      get("NATS_URL"),
		Context:  get("NATS_CONTEXT"),
		Creds:    get("NATS_CREDS"),
		NKey:     get("NATS_NKEY"),
		User:     get("NATS_USER"),
		Password: get("NATS_PASSWORD"),
		Cert:     get("NATS_CERT"),
		Key:      get("NATS_KEY"),
		CA:       get("NATS_CA"),
	}
	if text := get("NATS_TIMEOUT"); text != "" {
		timeout, err := time.ParseDuration(text)
		if err != nil || timeout <= 0 {
			return Options{}, fmt.Errorf("NATS_TIMEOUT is %q, want a duration such as 5s", text)
		}
		o.Timeout = timeout
	}
	return o, nil
}

// Resolve reads the context, if one is named, and fills in what is not set. It returns options without one.
func (o Options) Resolve() (Options, error) {
	if o.Context == "" {
		return o, nil
	}
	file, err := o.contextFile()
	if err != nil {
		return Options{}, err
	}
	text, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return Options{}, fmt.Errorf("NATS context %q: there is no file %s; \"nats context ls\" shows which there are",
			o.Context, file)
	}
	if err != nil {
		return Options{}, fmt.Errorf("NATS context %q: %w", o.Context, err)
	}
	var c natsContext
	if err := json.Unmarshal(text, &c); err != nil {
		// The error of the JSON package may quote what it did not understand, which may be a password.
		return Options{}, fmt.Errorf("NATS context %q: %s is not the JSON of a context", o.Context, file)
	}
	if err := c.check(); err != nil {
		return Options{}, fmt.Errorf("NATS context %q (%s): %w", o.Context, file, err)
	}
	o.Context = ""
	return o.fill(c), nil
}

func (o Options) contextFile() (string, error) {
	if filepath.IsAbs(o.Context) {
		return o.Context, nil
	}
	if strings.ContainsAny(o.Context, `/\`) || strings.Contains(o.Context, "..") {
		return "", fmt.Errorf("NATS context %q is neither a name nor an absolute path", o.Context)
	}
	dir := o.ContextDir
	if dir == "" {
		config := os.Getenv("XDG_CONFIG_HOME")
		if config == "" {
			home, err := os.UserHomeDir()
			if err != nil {
				return "", fmt.Errorf("NATS context %q: %w", o.Context, err)
			}
			config = filepath.Join(home, ".config")
		}
		dir = filepath.Join(config, "nats", "context")
	}
	return filepath.Join(dir, o.Context+".json"), nil
}

// natsContext is the file of a context (NATS ADR-21).
type natsContext struct {
	URL         string `json:"url"`
	Token       string `json:"token"`
	User        string `json:"user"`
	Password    string `json:"password"`
	Creds       string `json:"creds"`
	NKey        string `json:"nkey"`
	Cert        string `json:"cert"`
	Key         string `json:"key"`
	CA          string `json:"ca"`
	JWT         string `json:"user_jwt"`
	Seed        string `json:"user_seed"`
	Domain      string `json:"jetstream_domain"`
	APIPrefix   string `json:"jetstream_api_prefix"`
	InboxPrefix string `json:"inbox_prefix"`
	TLSFirst    bool   `json:"tls_first"`
	NSC         string `json:"nsc"`
	Proxy       string `json:"socks_proxy"`
}

// check refuses what would have to be left out.
func (c natsContext) check() error {
	switch {
	case c.NSC != "":
		return errors.New("nsc is not supported; write the credentials to a file (nsc generate creds) and set creds")
	case c.Proxy != "":
		return errors.New("socks_proxy is not supported")
	}
	return nil
}

func (o Options) fill(c natsContext) Options {
	if !o.hasLogin() {
		o.Creds, o.NKey, o.Token = atHome(c.Creds), atHome(c.NKey), c.Token
		o.User, o.Password, o.jwt, o.seed = c.User, c.Password, c.JWT, c.Seed
	}
	if o.Cert == "" && o.Key == "" {
		o.Cert, o.Key = atHome(c.Cert), atHome(c.Key)
	}
	if o.Domain == "" && o.APIPrefix == "" {
		o.Domain, o.APIPrefix = c.Domain, c.APIPrefix
	}
	for field, value := range map[*string]string{&o.URL: c.URL, &o.CA: atHome(c.CA), &o.InboxPrefix: c.InboxPrefix} {
		if *field == "" {
			*field = value
		}
	}
	o.TLSFirst = o.TLSFirst || c.TLSFirst
	return o
}

func (o Options) hasLogin() bool {
	return o.Creds != "" || o.NKey != "" || o.User != "" || o.Token != "" || strings.Contains(o.URL, "@")
}

// atHome resolves a leading ~/.
func atHome(path string) string {
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		if home, err := os.UserHomeDir(); err == nil {
			return filepath.Join(home, rest)
		}
	}
	return path
}
