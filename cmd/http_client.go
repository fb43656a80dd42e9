package cmd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
)

// remote asks the running worker, which holds the store's file.
type remote struct {
	client *http.Client
	base   string // "http://127.0.0.1:8321"
	token  string // "": none
}

// otherStoreError is a worker that answers at our address, and has another store than we ask for.
type otherStoreError struct{ address, has, want string }

func (e *otherStoreError) Error() string {
	return fmt.Sprintf("the worker at %s has the store %s, not %s: name the right configuration, or the right "+
		"worker (--listen HOST:PORT)", e.address, e.has, e.want)
}

// askWorker reaches the worker of the same configuration; an error says why it can't be asked.
func (l *loaded) askWorker(ctx context.Context) (*remote, error) {
	if l.HTTP.Listen == "off" {
		return nil, errors.New("http.listen is off")
	}
	host, port, err := net.SplitHostPort(l.HTTP.Listen)
	if err != nil {
		return nil, err
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	transport := &http.Transport{DialContext: (&net.Dialer{Timeout: 2 * time.Second}).DialContext, ResponseHeaderTimeout: 15 * time.Second}
	r := &remote{base: "http://" + net.JoinHostPort(host, port), token: l.HTTP.Token,
		client: &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse // no worker redirects: the token goes nowhere else
		}}}
	if l.HTTP.TLS.Cert != "" {
		r.base = "https" + strings.TrimPrefix(r.base, "http")
		if transport.TLSClientConfig, err = trustOnly(l.HTTP.TLS.Cert); err != nil {
			return nil, err
		}
	}
	var answer statusAnswer
	asking, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := r.ask(asking, http.MethodGet, "/api/v1/status", &answer); err != nil {
		r.close()
		return nil, err
	}
	if want := l.storeName(); answer.Store != want {
		r.close()
		return nil, &otherStoreError{r.base, answer.Store, want}
	}
	return r, nil
}

func (r *remote) close() { r.client.CloseIdleConnections() }

// refusal is an error that the worker answered with.
type refusal struct {
	Code   int    `json:"-"`
	Reason string `json:"error"`
}

func (e *refusal) Error() string { return e.Reason }

func (r *remote) do(ctx context.Context, method, path string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, r.base+path, nil)
	if err != nil {
		return nil, err
	}
	if r.token != "" {
		request.Header.Set("Authorization", "Bearer "+r.token)
	}
	response, err := r.client.Do(request)
	if err != nil {
		var failed *url.Error
		if errors.As(err, &failed) {
			err = failed.Err
		}
		if errors.Is(err, http.ErrSchemeMismatch) {
			err = errors.New("it speaks plain HTTP, and this configuration has http.tls: use the worker's own configuration")
		}
		return nil, fmt.Errorf("worker at %s: %w", r.base, err)
	}
	return response, nil
}

// ask reads one answer of JSON; also a 404 that has facts.
func (r *remote) ask(ctx context.Context, method, path string, into any) error {
	response, err := r.do(ctx, method, path)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return fmt.Errorf("worker at %s: %w", r.base, err)
	}
	refused := refusal{Code: response.StatusCode}
	if err := json.Unmarshal(text, &refused); err != nil || response.StatusCode != http.StatusOK &&
		refused.Reason == "" && response.StatusCode != http.StatusNotFound {
		if strings.Contains(string(text), "HTTP request to an HTTPS server") {
			return fmt.Errorf("worker at %s: it speaks TLS, and this configuration has no http.tls: use the worker's own configuration", r.base)
		}
		return fmt.Errorf("what answers at %s is no tailfold (%s %s: %s)", r.base, method, path, response.Status)
	}
	if refused.Code == http.StatusUnauthorized {
		return fmt.Errorf("worker at %s: %w", r.base, &refused)
	}
	if refused.Reason != "" {
		return &refused
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("worker at %s: its answer can't be read, is it of another version? %w", r.base, err)
	}
	return nil
}

func (r *remote) status(ctx context.Context) (answer statusAnswer, err error) {
	err = r.ask(ctx, http.MethodGet, "/api/v1/status", &answer)
	return answer, err
}

// path is below a projection, with the version if one is asked for.
func (r *remote) path(projection, what string, version int, query url.Values) string {
	if query == nil {
		query = url.Values{}
	}
	if version > 0 {
		query.Set("version", strconv.Itoa(version))
	}
	path := "/api/v1/projections/" + url.PathEscape(projection) + what
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return path
}

func (r *remote) get(ctx context.Context, projection string, version int, key string) ([]valueAnswer, error) {
	var answer struct {
		valueAnswer
		Results []valueAnswer `json:"results"`
	}
	err := r.ask(ctx, http.MethodGet, r.path(projection, "/value", version, url.Values{"key": {key}}), &answer)
	if err != nil {
		return nil, err
	}
	if answer.Results == nil {
		answer.Results = []valueAnswer{answer.valueAnswer}
	}
	for i := range answer.Results {
		a := &answer.Results[i]
		a.raw = a.Value
		if a.ValueBase64 != nil {
			a.raw = a.ValueBase64
		}
	}
	return answer.Results, nil
}

func (r *remote) keys(ctx context.Context, projection string, version int, prefix string, yield func(int,
	string) error) error {
	response, err := r.do(ctx, http.MethodGet, r.path(projection, "/keys", version, url.Values{"prefix": {prefix}}))
	if err != nil {
		return err
	}
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var line keyLine
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return fmt.Errorf("worker at %s: its answer can't be read, is it of another version? %w", r.base, err)
		}
		switch {
		case line.Error != "":
			return &refusal{response.StatusCode, line.Error}
		case line.Done:
			return nil
		}
		key := line.Key
		if line.KeyBase64 != nil {
			key = string(line.KeyBase64)
		}
		partition := 0
		if line.Partition != nil {
			partition = *line.Partition
		}
		if err := yield(partition, key); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("worker at %s: %w", r.base, err)
	}
	return fmt.Errorf("worker at %s: the list of keys ended before it was complete: ask again", r.base)
}

func (r *remote) snapshots(ctx context.Context, projection string, version int) ([]snapshotFound, error) {
	var answer snapshotsAnswer
	err := r.ask(ctx, http.MethodGet, r.path(projection, "/snapshots", version, nil), &answer)
	return answer.Snapshots, err
}

func (r *remote) drop(ctx context.Context, projection string, version int) ([]snapshotFound, error) {
	var answer snapshotsAnswer
	err := r.ask(ctx, http.MethodDelete, r.path(projection, "", version, nil), &answer)
	return answer.Snapshots, err
}
