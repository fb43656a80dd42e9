package redisstore

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestURLForms(t *testing.T) {
	for text, want := range map[string]target{
		"redis://h":                 {addrs: []string{"h:6379"}},
		"redis://127.0.0.1:7/3":     {addrs: []string{"127.0.0.1:7"}, db: 3},
		"redis://[::1]:7/0":         {addrs: []string{"[::1]:7"}},
		"redis://[::1]":             {addrs: []string{"[::1]:6379"}},
		"redis://:p%40ss@h/":        {addrs: []string{"h:6379"}, password: "p@ss"},
		"redis://bob:a:b/c@d@h:1/2": {addrs: []string{"h:1"}, username: "bob", password: "a:b/c@d", db: 2},
		"redis://bob@h":             {addrs: []string{"h:6379"}, username: "bob"},
		"rediss://h?ca=/a%20b&cert=c&key=k&server_name=s": {tls: true, addrs: []string{"h:6379"}, ca: "/a b", cert: "c", key: "k",
			serverName: "s"},
		"redis+sentinel://u:p@a:1,b/mymaster/2?sentinel_username=su&sentinel_password=sp": {form: sentinel, username: "u",
			password: "p", addrs: []string{"a:1", "b:26379"}, master: "mymaster", db: 2, sentinelUsername: "su", sentinelPassword: "sp"},
		"rediss+sentinel://a/m":       {form: sentinel, tls: true, addrs: []string{"a:26379"}, master: "m"},
		"redis+cluster://u:p@a:1,b:2": {form: cluster, username: "u", password: "p", addrs: []string{"a:1", "b:2"}},
		"rediss+cluster://a/0":        {form: cluster, tls: true, addrs: []string{"a:6379"}},
	} {
		got, err := parseURL(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(target{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
}

func TestURLsThatAreRefusedDoNotShowTheirPassword(t *testing.T) {
	for text, why := range map[string]string{
		"":                                   "is not a URL",
		"user:sekret@h:1":                    "is not a URL",
		"http://u:sekret@h":                  "does not begin with redis",
		"redis+tls://u:sekret@h":             "unknown scheme",
		"redis://u:sekret@h,i":               "several hosts",
		"redis://u:sekret@":                  "where host 1 (host or host:port) should be",
		"redis://u:sekret@h:x":               "where host 1 (host or host:port) should be",
		"redis://u:sekret@h:0":               "where host 1 (host or host:port) should be",
		"redis://u:sekret@h:70000":           "where host 1 (host or host:port) should be",
		"redis://u:sekret%zz@h":              "no two hex digits",
		"redis://u:sekret@h/x":               "number of a database",
		"redis://u:sekret@h/-1":              "number of a database",
		"redis://u:sekret@h?x=sekret":        "unknown parameter",
		"redis://u:sekret@h?ca=sekret":       "needs TLS",
		"rediss://u:sekret@h?cert=sekret":    "needs both or neither",
		"rediss://u:sekret@h?ca=%zzsekret":   "no two hex digits",
		"redis://u:sekret?x@h":               "write @ / ? as",
		"redis://u:x?sekret@h":               "write @ / ? as",
		"redis://u/sekret?x@h":               "number of a database",
		"redis+cluster://u:sekret@h/1":       "only database 0",
		"redis+sentinel://u:sekret@h":        "lacks the master's name",
		"redis://h?sentinel_password=sekret": "needs redis+sentinel",
	} {
		_, err := parseURL(text)
		if err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v, want an error that says %q", text, err, why)
			continue
		}
		if strings.Contains(err.Error(), "sekret") {
			t.Errorf("%s: the error shows the password: %v", text, err)
		}
	}
}

func TestTargetDoesNotShowItsPassword(t *testing.T) {
	for text, want := range map[string]string{
		"redis://u:sekret@h/1": "redis://h:6379/1",
		"rediss+sentinel://u:sekret@h,i/m?sentinel_password=sekret": "rediss+sentinel://h:26379,i:26379/m/0",
		"redis+cluster://u:sekret@h,i":                              "redis+cluster://h:6379,i:6379",
	} {
		got, err := parseURL(text)
		if err != nil || got.String() != want {
			t.Errorf("%s: %s, %v, want %s", text, got, err, want)
		}
	}
}

// FuzzURL shows that nothing makes parseURL panic, and that what it takes has hosts.
func FuzzURL(f *testing.F) {
	f.Add("redis+sentinel://u:p@a:1,b/mymaster/2?sentinel_username=su")
	f.Add("rediss://[::1]:7/3?ca=x")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := parseURL(text)
		if err == nil && (len(got.addrs) == 0 || got.String() == "") {
			t.Errorf("%q gives %+v", text, got)
		}
	})
}
