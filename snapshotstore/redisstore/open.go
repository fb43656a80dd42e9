package redisstore

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Options says which Redis, and where in it.
type Options struct {
	// URL of the Redis:
	//
	//	redis://[user:password@]host[:6379][/db]
	//	redis+sentinel://[user:password@]host[:26379],…/master[/db]    ?sentinel_username=…&sentinel_password=…
	//	redis+cluster://[user:password@]host[:6379],…
	//
	// and each with rediss for TLS, with the parameters ca, cert, key (paths of PEM files) and server_name.
	// User and password are those of Redis itself; special characters in them are percent-encoded.
	URL string

	// Prefix of all names in Redis. Default "tailfold".
	Prefix string

	// TLS is used instead of what the URL's parameters say, if the URL asks for TLS.
	TLS *tls.Config

	// Timeout bounds each wait for an answer: it must be above the longest script, of anyone, on that Redis.
	// Default 10 s.
	Timeout time.Duration

	// Connections is how many a store opens at most, to each server. Default 16.
	Connections int

	// Replicas is how many replicas are to have a checkpoint; the Receipt tells how many have it. Default 0: they are not
	// asked. A checkpoint that they do not have is made all the same.
	Replicas int

	// ReplicasTimeout bounds the wait for them, for each checkpoint. From 1 ms, less than Timeout. Default 100 ms. Only
	// with Replicas.
	ReplicasTimeout time.Duration
}

// defaultReplicasTimeout is for a replica in the same place. While one is away each checkpoint takes so much longer; folding
// goes on meanwhile.
const defaultReplicasTimeout = 100 * time.Millisecond

// dialTimeout bounds connecting. Retrying is the caller's.
const dialTimeout = 5 * time.Second

// Open makes a store. It does not talk to Redis, which may be away: the first call does.
func Open(options Options) (*Store, error) {
	target, err := parseURL(options.URL)
	if err != nil {
		return nil, fmt.Errorf("redisstore: the URL %w", err) // it does not quote the URL, which may hold a password
	}
	layout := Layout{Prefix: options.Prefix}
	if layout.Prefix == "" {
		layout.Prefix = "tailfold"
	}
	if err := layout.check(); err != nil {
		return nil, fmt.Errorf("redisstore: %w", err)
	}
	if options.Timeout < 0 || options.Connections < 0 {
		return nil, fmt.Errorf("redisstore: timeout %v and connections %d must not be below 0", options.Timeout, options.Connections)
	}
	if options.Timeout == 0 {
		options.Timeout = 10 * time.Second
	}
	if options.Connections == 0 {
		options.Connections = 16
	}
	switch {
	case options.Replicas < 0:
		return nil, fmt.Errorf("redisstore: replicas %d must not be below 0", options.Replicas)
	case options.Replicas == 0 && options.ReplicasTimeout != 0:
		return nil, fmt.Errorf("redisstore: a timeout of %v for replicas, but none are asked for", options.ReplicasTimeout)
	case options.Replicas > 0 && options.ReplicasTimeout == 0:
		options.ReplicasTimeout = defaultReplicasTimeout
	}
	if options.Replicas > 0 && (options.ReplicasTimeout < time.Millisecond || options.ReplicasTimeout >= options.Timeout) {
		return nil, fmt.Errorf("redisstore: the timeout for replicas is %v: it must be from 1ms to less than that for an answer, %v", options.ReplicasTimeout, options.Timeout)
	}
	if target.tls && options.TLS == nil {
		if options.TLS, err = tlsConfig(target); err != nil {
			return nil, fmt.Errorf("redisstore: TLS: %w", err)
		}
	}
	if !target.tls && options.TLS != nil {
		return nil, errors.New("redisstore: TLS is set, but the URL does not begin with rediss")
	}
	return &Store{client: newClient(target, options), target: target, layout: layout, bulkFrom: bulkFrom,
		replicas: options.Replicas, replicasTimeout: options.ReplicasTimeout}, nil
}

// newClient makes the client for the URL's form. Its own retries are off: they are the caller's, who knows what
// may be sent twice. (A commit may. In a cluster go-redis does send again after a redirection or a lost connection;
// that can't be told from redirections, and does no harm.)
func newClient(t target, options Options) redis.UniversalClient {
	common := redis.Options{
		Username: t.username, Password: t.password, DB: t.db, TLSConfig: options.TLS,
		MaxRetries: -1, DialerRetries: 1, DialTimeout: dialTimeout,
		ReadTimeout: options.Timeout, WriteTimeout: options.Timeout, PoolTimeout: options.Timeout,
		ContextTimeoutEnabled: true, // else a deadline would not bound waiting for an answer
		PoolSize:              options.Connections, MaxActiveConns: options.Connections, PipelinePoolSize: -1,
		Protocol: 2, DisableIdentity: true, // no HELLO 3 and CLIENT SETINFO, which a narrow ACL or a proxy refuses
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	switch t.form {
	case sentinel:
		return redis.NewFailoverClient(&redis.FailoverOptions{
			MasterName: t.master, SentinelAddrs: t.addrs,
			SentinelUsername: t.sentinelUsername, SentinelPassword: t.sentinelPassword,
			Username: common.Username, Password: common.Password, DB: common.DB, TLSConfig: common.TLSConfig,
			MaxRetries: common.MaxRetries, DialerRetries: common.DialerRetries, DialTimeout: common.DialTimeout,
			ReadTimeout: common.ReadTimeout, WriteTimeout: common.WriteTimeout, PoolTimeout: common.PoolTimeout,
			ContextTimeoutEnabled: true,
			PoolSize:              common.PoolSize, MaxActiveConns: common.MaxActiveConns, PipelinePoolSize: -1,
			Protocol: common.Protocol, DisableIdentity: true,
		})
	case cluster:
		return redis.NewClusterClient(&redis.ClusterOptions{
			Addrs:    t.addrs,
			Username: common.Username, Password: common.Password, TLSConfig: common.TLSConfig,
			MaxRetries: common.MaxRetries, DialerRetries: common.DialerRetries, DialTimeout: common.DialTimeout,
			ReadTimeout: common.ReadTimeout, WriteTimeout: common.WriteTimeout, PoolTimeout: common.PoolTimeout,
			ContextTimeoutEnabled: true,
			PoolSize:              common.PoolSize, MaxActiveConns: common.MaxActiveConns, PipelinePoolSize: -1,
			Protocol: common.Protocol, DisableIdentity: true, MaintNotificationsConfig: common.MaintNotificationsConfig,
		})
	}
	common.Addr = t.addrs[0]
	return redis.NewClient(&common)
}

// tlsConfig is what the URL's parameters say. The client's certificate is read anew for each connection, so that it
// can be renewed under a running worker.
func tlsConfig(t target) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.serverName}
	if t.ca != "" {
		pem, err := os.ReadFile(t.ca)
		if err != nil {
			return nil, fmt.Errorf("ca: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca: %s has no certificate in PEM form", t.ca)
		}
	}
	if t.cert != "" {
		if _, err := tls.LoadX509KeyPair(t.cert, t.key); err != nil {
			return nil, fmt.Errorf("cert and key: %w", err)
		}
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(t.cert, t.key)
			return &pair, err
		}
	}
	return config, nil
}
