package cmd

import (
	"fmt"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// set gives a setting the value that a text says. The error says what to write instead, and shows no secret.
func (s setting) set(text string) error {
	if len(s.OneOf) > 0 && !slices.Contains(s.OneOf, text) {
		return fmt.Errorf("is %q: write %s", text, strings.Join(s.OneOf, " or "))
	}
	switch s.Type {
	case typeDuration:
		d, err := parseDuration(text)
		if err != nil {
			return err
		}
		s.value.SetInt(int64(d))
		return nil
	case typeSize:
		size, err := ParseSize(text)
		if err != nil {
			return err
		}
		s.value.SetInt(int64(size))
		return nil
	}
	switch s.Type.Kind() {
	case reflect.String:
		s.value.SetString(text)
	case reflect.Int:
		n, err := strconv.ParseInt(text, 10, 32)
		if err != nil {
			return fmt.Errorf("is %q: write a whole number", text)
		}
		s.value.SetInt(n)
	case reflect.Bool:
		b, err := parseBool(text)
		if err != nil {
			return fmt.Errorf("is %q: %w", text, err)
		}
		s.value.SetBool(b)
	case reflect.Slice: // from an environment variable; a file has its own lists
		list := strings.Split(text, ",")
		for i := range list {
			list[i] = strings.TrimSpace(list[i])
		}
		s.value.Set(reflect.ValueOf(list))
	default:
		panic("no setting has the type " + s.Type.String())
	}
	return nil
}

const hidden = "***"

// urlInText finds URLs, with whatever is in their passwords but white space and quotes.
var urlInText = regexp.MustCompile(`[A-Za-z][A-Za-z0-9+.-]*://[^\s"'<>]*`)

// secretQuery finds parameters that hold secrets.
var secretQuery = regexp.MustCompile(`(?i)([?&](?:[a-z_]*password|[a-z_]*token|[a-z_]*secret|[a-z_]*pass)=)([^&#\s"']*)`)

// withoutSecret takes user, password and secret parameters out of the URLs in a text. It does not ask url.Parse, which
// refuses what people write (several hosts, a stray percent sign), and then quotes it.
func withoutSecret(text string) string {
	text = urlInText.ReplaceAllStringFunc(text, func(u string) string {
		for _, userinfo := range userinfosOf(u) {
			u = strings.ReplaceAll(u, userinfo+"@", hidden+"@")
		}
		return u
	})
	return secretQuery.ReplaceAllString(text, "${1}"+hidden)
}

// userinfosOf is what stands between each "://" of a text and the last @ before the next.
func userinfosOf(text string) []string {
	var found []string
	for i, part := range strings.Split(text, "://") {
		if at := strings.LastIndex(part, "@"); i > 0 && at > 0 {
			found = append(found, part[:at])
		}
	}
	return found
}

// secrets are the texts of a configuration that must not be shown anywhere.
func (c *Config) secrets() []string {
	found := []string{c.nats.Password, c.nats.Token} // of a context, or a variable of the nats command line
	if c.nats.User != "" && c.nats.Password == "" {
		found = append(found, c.nats.User) // which is a token then
	}
	for _, userinfo := range userinfosOf(c.nats.URL) {
		found = append(found, userinfo, userinfo[strings.Index(userinfo, ":")+1:])
	}
	for _, s := range settings(c) {
		text, _ := s.value.Interface().(string)
		switch s.Secret {
		case "true":
			found = append(found, text)
		case "url":
			for _, userinfo := range userinfosOf(text) {
				user, password, has := strings.Cut(userinfo, ":")
				if !has { // a bare name in a NATS URL is a token
					password = user
				}
				found = append(found, userinfo, password)
			}
			for _, m := range secretQuery.FindAllStringSubmatch(text, -1) {
				found = append(found, m[2])
			}
		}
	}
	for _, secret := range found {
		if plain, err := url.PathUnescape(secret); err == nil {
			found = append(found, plain)
		}
	}
	found = slices.DeleteFunc(found, func(s string) bool { return len(s) < 4 }) // shorter ones would blot out words
	slices.SortFunc(found, func(a, b string) int { return len(b) - len(a) })    // the longest first: one may hold another
	return slices.Compact(found)
}

// redact takes all secrets of a configuration out of a text: for messages of client libraries, which quote URLs.
func (c *Config) redact(text string) string {
	text = withoutSecret(text)
	if c == nil {
		return text
	}
	for _, secret := range c.secrets() {
		text = strings.ReplaceAll(text, secret, hidden)
	}
	return text
}
