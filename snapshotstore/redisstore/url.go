package redisstore

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// form is how a Redis is reached.
type form int

const (
	single form = iota
	sentinel
	cluster
)

// target is a URL taken apart.
type target struct {
	form               form
	tls                bool
	username, password string
	addrs              []string
	master             string // sentinel: what the sentinels call the master
	db                 int

	sentinelUsername, sentinelPassword string // of the sentinels themselves
	ca, cert, key, serverName          string // TLS: paths of PEM files
}

const urlForms = "redis://[user:password@]host[:port][/db], redis+sentinel://[user:password@]host[:port],…/master[/db], " +
	"redis+cluster://[user:password@]host[:port],…; rediss… for TLS"

// parseURL takes a URL apart. It does so itself because a URL may name several hosts, and because net/url's errors
// quote the URL, with its password. No error of parseURL quotes any part of it: a password with a "/" or "?" that is
// not encoded may look like any of them.
func parseURL(text string) (target, error) {
	t := target{}
	scheme, rest, found := strings.Cut(text, "://")
	if !found {
		return t, errors.New("is not a URL; it should be " + urlForms)
	}
	scheme, tls := strings.CutPrefix(scheme, "rediss")
	if !tls {
		var plain bool
		if scheme, plain = strings.CutPrefix(scheme, "redis"); !plain {
			return t, errors.New("does not begin with redis or rediss; it should be " + urlForms)
		}
	}
	t.tls = tls
	switch scheme {
	case "":
		t.form = single
	case "+sentinel":
		t.form = sentinel
	case "+cluster":
		t.form = cluster
	default:
		return t, fmt.Errorf("has an unknown scheme; it should be %s", urlForms)
	}
	rest, query, _ := strings.Cut(rest, "?")
	userinfo, rest, found := cutLast(rest, "@")
	if !found {
		userinfo, rest = "", userinfo
	}
	hosts, path, _ := strings.Cut(rest, "/")
	if err := t.setUser(userinfo); err != nil {
		return t, err
	}
	if err := t.setHosts(hosts); err != nil {
		return t, err
	}
	if err := t.setPath(path); err != nil {
		return t, err
	}
	return t, t.setQuery(query)
}

func cutLast(text, separator string) (before, after string, found bool) {
	if i := strings.LastIndex(text, separator); i >= 0 {
		return text[:i], text[i+len(separator):], true
	}
	return text, "", false
}

func (t *target) setUser(userinfo string) error {
	username, password, _ := strings.Cut(userinfo, ":")
	var err1, err2 error
	t.username, err1 = url.PathUnescape(username)
	t.password, err2 = url.PathUnescape(password)
	if err1 != nil || err2 != nil {
		return errors.New("has a \"%\" in user or password that no two hex digits follow; write it as %25")
	}
	return nil
}

func (t *target) setHosts(hosts string) error {
	standard := "6379"
	if t.form == sentinel {
		standard = "26379"
	}
	for host := range strings.SplitSeq(hosts, ",") {
		addr := host
		if _, _, err := net.SplitHostPort(addr); err != nil {
			addr = net.JoinHostPort(strings.Trim(host, "[]"), standard)
		}
		name, port, err := net.SplitHostPort(addr)
		if number, bad := strconv.ParseUint(port, 10, 16); err != nil || name == "" || bad != nil || number == 0 {
			return fmt.Errorf("has something else where host %d (host or host:port) should be; "+
				"in user and password write @ / ? as %%40 %%2F %%3F", len(t.addrs)+1)
		}
		t.addrs = append(t.addrs, addr)
	}
	if t.form == single && len(t.addrs) > 1 {
		return errors.New("names several hosts; several are redis+sentinel:// or redis+cluster://")
	}
	return nil
}

func (t *target) setPath(path string) error {
	path = strings.TrimSuffix(path, "/")
	if t.form == sentinel {
		t.master, path, _ = strings.Cut(path, "/")
		if t.master == "" {
			return errors.New("lacks the master's name: redis+sentinel://host:26379/<master>")
		}
	}
	if path == "" {
		return nil
	}
	db, err := strconv.ParseUint(path, 10, 16)
	if err != nil {
		return errors.New("has something else where the number of a database should be, after the last /")
	}
	if t.form == cluster && db != 0 {
		return fmt.Errorf("asks for database %d, a cluster has only database 0", db)
	}
	t.db = int(db)
	return nil
}

func (t *target) setQuery(query string) error {
	for pair := range strings.SplitSeq(query, "&") {
		if pair == "" {
			continue
		}
		name, raw, _ := strings.Cut(pair, "=")
		value, err := url.QueryUnescape(raw)
		if err != nil {
			return errors.New("has a \"%\" in its parameters that no two hex digits follow; write it as %25")
		}
		into := map[string]*string{"ca": &t.ca, "cert": &t.cert, "key": &t.key, "server_name": &t.serverName,
			"sentinel_username": &t.sentinelUsername, "sentinel_password": &t.sentinelPassword}[name]
		switch {
		case into == nil:
			return errors.New("has an unknown parameter after the \"?\"; known are ca, cert, key, server_name, " +
				"sentinel_username, sentinel_password; in user and password write ? as %3F")
		case !t.tls && !strings.HasPrefix(name, "sentinel_"):
			return fmt.Errorf("has the parameter %s, which needs TLS: rediss…://", name)
		case t.form != sentinel && strings.HasPrefix(name, "sentinel_"):
			return fmt.Errorf("has the parameter %s, which needs redis+sentinel://", name)
		}
		*into = value
	}
	if (t.cert == "") != (t.key == "") {
		return errors.New("has one of the parameters cert and key, it needs both or neither")
	}
	return nil
}

// String is the URL without its secrets.
func (t target) String() string {
	scheme := "redis"
	if t.tls {
		scheme = "rediss"
	}
	switch t.form {
	case sentinel:
		return fmt.Sprintf("%s+sentinel://%s/%s/%d", scheme, strings.Join(t.addrs, ","), t.master, t.db)
	case cluster:
		return fmt.Sprintf("%s+cluster://%s", scheme, strings.Join(t.addrs, ","))
	}
	return fmt.Sprintf("%s://%s/%d", scheme, t.addrs[0], t.db)
}
