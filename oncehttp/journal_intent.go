package oncehttp

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/internal/callkey"
)

// An intent is a request that is to be sent.
type intent struct {
	method string
	url    *url.URL
	host   string // of the Host field, if it is not that of the URL
	header http.Header
	body   []byte
	fp     once.Fingerprint
}

// newIntent takes the request over and closes its body. It has a key afterwards.
func (j *Journal) newIntent(req *http.Request) (*intent, error) {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("oncehttp: journal: "+format, args...)
	}
	if req.Body != nil {
		defer req.Body.Close()
	}
	switch {
	case isSafe(req.Method):
		return nil, bad("method %q changes nothing; send it as it is", req.Method)
	case req.URL.Scheme != "http" && req.URL.Scheme != "https" || req.URL.Host == "":
		return nil, bad("URL of the request is not absolute")
	case req.URL.User != nil:
		return nil, bad("URL of the request has credentials, which would be recorded; add them in Sign")
	case len(req.Trailer) > 0:
		return nil, bad("request has trailers, which cannot be recorded; use the header")
	}
	if err := checkRecordable(req); err != nil {
		return nil, bad("%w", err)
	}
	in := &intent{method: req.Method, url: req.URL, host: req.Host, header: req.Header.Clone()}
	if in.header == nil {
		in.header = make(http.Header)
	}
	if req.Body != nil {
		body, whole, err := readUpTo(req.Body, j.cfg.MaxBody)
		switch {
		case err != nil:
			return nil, bad("body of the request cannot be read: %w", err)
		case !whole:
			return nil, bad("body of the request has more than %d bytes; raise MaxBody", j.cfg.MaxBody)
		}
		in.body = body
	}
	if err := in.setKey(j.cfg.Transport, req); err != nil {
		return nil, err
	}
	fp := fingerprint(new(digester), req, in.body, nil)
	in.fp = once.FingerprintOf([]byte(req.URL.Scheme), []byte(req.URL.Host), fp[:])
	return in, nil
}

// checkRecordable reports what in the head of the request cannot be recorded, or should not.
func checkRecordable(req *http.Request) error {
	if !isToken(req.Method) {
		return fmt.Errorf("method %q has other characters than letters and digits", req.Method)
	}
	for name, values := range req.Header {
		switch name = textproto.CanonicalMIMEHeaderKey(name); name {
		case "Authorization", "Proxy-Authorization", "Cookie":
			return fmt.Errorf("request has credentials in %s, which would be recorded; add them in Sign", name)
		}
		if !isToken(name) {
			return fmt.Errorf("%q is not the name of a header; use letters, digits and hyphens", name)
		}
		for _, v := range values {
			if strings.IndexFunc(v, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) >= 0 {
				return fmt.Errorf("header %s has control characters; encode them", name)
			}
		}
	}
	return nil
}

func (in *intent) setKey(t *Transport, req *http.Request) error {
	if len(in.header[t.cfg.Header]) > 0 {
		_, err := t.keyFor(req) // which refuses a malformed one
		return err
	}
	key, given := callkey.From(req.Context())
	if !given {
		key = t.keys.New()
	}
	if err := t.checkGivenKey(key); err != nil {
		return err
	}
	in.header[t.cfg.Header] = []string{t.formatKey(key)}
	return nil
}

// message returns the request as a literal HTTP/1.1 message whose target is absolute (RFC 9112
// section 3.2.2).
func (in *intent) message() []byte {
	host := in.host
	if host == "" {
		host = in.url.Host
	}
	u := *in.url
	u.Fragment, u.RawFragment = "", ""
	b := append([]byte(in.method), ' ')
	b = append(append(b, u.String()...), " HTTP/1.1\r\n"...)
	b = appendField(b, "Host", host)
	for _, name := range slices.Sorted(maps.Keys(in.header)) {
		if name == "Host" || name == "Content-Length" {
			continue
		}
		for _, value := range in.header[name] {
			b = appendField(b, name, value)
		}
	}
	b = appendField(b, "Content-Length", strconv.Itoa(len(in.body)))
	return append(append(b, crlf...), in.body...)
}

var errIntent = errors.New("oncehttp: journal: recorded request cannot be read")

// parseIntent is the inverse of message.
func parseIntent(out once.Outcome) (*intent, error) {
	buf := bufio.NewReader(bytes.NewReader(out.Data))
	r := textproto.NewReader(buf)
	line, err := r.ReadLine()
	method, rest, ok := strings.Cut(line, " ")
	target, isHTTP := strings.CutSuffix(rest, " HTTP/1.1")
	if out.Type != messageType || err != nil || !ok || !isHTTP {
		return nil, errIntent
	}
	u, err := url.Parse(target)
	if err != nil {
		return nil, errIntent
	}
	header, err := r.ReadMIMEHeader()
	if err != nil {
		return nil, errIntent
	}
	in := &intent{method: method, url: u, header: http.Header(header)}
	if in.body, err = io.ReadAll(buf); err != nil || in.header.Get("Content-Length") != strconv.Itoa(len(in.body)) {
		return nil, errIntent
	}
	in.header.Del("Content-Length")
	in.host = in.header.Get("Host")
	in.header.Del("Host")
	return in, nil
}

// request returns a request to be sent under ctx.
func (in *intent) request(ctx context.Context) *http.Request {
	u := *in.url
	req := (&http.Request{
		Method: in.method, URL: &u, Host: in.host, Header: in.header.Clone(),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		ContentLength: int64(len(in.body)),
	}).WithContext(ctx)
	req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(in.body)), nil }
	if len(in.body) == 0 {
		req.GetBody = func() (io.ReadCloser, error) { return http.NoBody, nil }
	}
	req.Body, _ = req.GetBody() // it does not fail
	return req
}

// record records the request, unless it is recorded already, and returns what is recorded and
// how old that is. in may be nil if it is. The caller must own the operation.
func (j *Journal) record(ctx context.Context, id string, in *intent) (*intent, time.Duration, error) {
	k := j.intentKey(id)
	rec, err := j.cfg.Store.Load(ctx, k)
	switch {
	case err == nil && rec.State == once.Done && in != nil && !in.fp.Matches(rec.Fingerprint):
		return nil, 0, once.ErrMismatch
	case err == nil && rec.State == once.Done:
		recorded, err := parseIntent(rec.Outcome)
		return recorded, intentRetention - rec.Retention, err
	case err != nil && !errors.Is(err, once.ErrNotFound):
		return nil, 0, err
	case in == nil:
		return nil, 0, once.ErrNotFound
	}
	a, err := j.guard.Begin(ctx, k, in.fp)
	if err != nil {
		return nil, 0, err
	}
	if out, done := a.Replay(); done {
		recorded, err := parseIntent(out)
		return recorded, 0, err
	}
	out := once.Outcome{Type: messageType, Data: in.message()}
	return in, 0, a.CompleteFor(out, intentRetention)
}
