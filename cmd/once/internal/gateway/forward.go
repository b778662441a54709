package gateway

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/cmd/once/internal/upstream"
	"github.com/oncehq/once/oncehttp"
)

// A forwarder sends requests to the service. Inside of oncehttp's middleware it sends the
// guarded ones over connections of its own, once, and says what a failure means.
type forwarder struct {
	client  *upstream.Client
	host    string // sent as Host; empty: the client's
	scheme  string // that clients speak
	timeout time.Duration
	limit   int64        // of a response that is held back
	rest    http.Handler // for requests that are not guarded
	log     *slog.Logger
	buffers *sync.Pool // of *bytes.Buffer
}

// maxPooled is the size above which a buffer is not kept.
const maxPooled = 64 << 10

func (f *forwarder) buffer() *bytes.Buffer { return f.buffers.Get().(*bytes.Buffer) }

func (f *forwarder) release(b *bytes.Buffer) {
	if b.Cap() <= maxPooled {
		b.Reset()
		f.buffers.Put(b)
	}
}

func (f *forwarder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	attempt, guarded := once.FromContext(r.Context())
	if !guarded {
		f.rest.ServeHTTP(w, r)
		return
	}
	body := f.buffer()
	defer f.release(body)
	if _, err := body.ReadFrom(r.Body); err != nil {
		f.unsent(w, r, attempt, err) // cannot happen: it is in memory
		return
	}
	var extra [5]upstream.Field
	req := upstream.Request{
		Method:  r.Method,
		Target:  r.URL.RequestURI(),
		Host:    f.host,
		Header:  r.Header,
		Extra:   appendMarks(f.appendForwarded(extra[:0], r), attempt),
		Body:    body.Bytes(),
		Timeout: f.timeout,
	}
	if req.Host == "" {
		req.Host = r.Host
	}
	resp, err := f.client.Do(r.Context(), &req)
	if err != nil {
		f.fail(w, r, attempt, err)
		return
	}
	defer resp.Body.Close()
	f.relay(w, r, attempt, resp)
}

// appendForwarded tells the service about the client: its address is added to those of the proxies
// before, and the protocol, unless one of those has told it.
func (f *forwarder) appendForwarded(fields []upstream.Field, r *http.Request) []upstream.Field {
	if len(r.Header[forwardedProto]) == 0 {
		fields = append(fields, upstream.Field{Name: forwardedProto, Value: f.scheme})
	}
	if host, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		// A line of its own is the same list (RFC 9110 section 5.3).
		fields = append(fields, upstream.Field{Name: forwardedFor, Value: host})
	}
	return fields
}

// fail answers when there is no response.
func (f *forwarder) fail(w http.ResponseWriter, r *http.Request, a *once.Attempt, err error) {
	ue, ok := errors.AsType[*upstream.Error](err)
	if !ok || ue.Sent {
		f.unknown(w, r, a, err, ok && ue.Timeout())
		return
	}
	f.unsent(w, r, a, err)
}

// unsent: the service has not seen the request. The key is free again, unless an earlier attempt
// has left it open whether the operation happened.
func (f *forwarder) unsent(w http.ResponseWriter, r *http.Request, a *once.Attempt, err error) {
	if a.Number() > 1 {
		oncehttp.InDoubt(r.Context())
	} else {
		oncehttp.NoEffect(r.Context())
	}
	instance := writeProblem(w, problemUnreachable, http.StatusServiceUnavailable,
		"The service cannot be reached", "Nothing was done. Try again with the same key.")
	f.report(r.Context(), slog.LevelWarn, "service not reached", a, instance, err)
}

// unknown: the service may have seen the request. The operation is in doubt.
func (f *forwarder) unknown(w http.ResponseWriter, r *http.Request, a *once.Attempt, err error, late bool) {
	oncehttp.InDoubt(r.Context())
	name, status, title := problemBroken, http.StatusBadGateway, "The service broke off"
	if late {
		name, status, title = problemTimeout, http.StatusGatewayTimeout, "The service does not answer"
	}
	instance := writeProblem(w, name, status, title,
		"It is not known if the operation took effect. Try again with the same key; it is not repeated unless that is safe.")
	f.report(r.Context(), slog.LevelWarn, "service broke off", a, instance, err)
}

func (f *forwarder) report(ctx context.Context, level slog.Level, what string, a *once.Attempt, instance string, err error) {
	f.log.LogAttrs(ctx, level, what, slog.String("key", a.Key().String()), slog.Int("attempt", a.Number()),
		slog.String("instance", instance), slog.Any("error", err))
}

// relay hands the response on. It is read whole first if it is to be kept: when the service dies
// in the middle of it, the client has seen nothing yet and is told so.
func (f *forwarder) relay(w http.ResponseWriter, r *http.Request, a *once.Attempt, resp *http.Response) {
	body := f.buffer()
	defer f.release(body)
	whole := true
	if !isEventStream(resp.Header) {
		n, err := body.ReadFrom(io.LimitReader(resp.Body, f.limit+1))
		if err != nil {
			ue := upstream.Error{Sent: true, Err: err}
			f.unknown(w, r, a, &ue, ue.Timeout())
			return
		}
		whole = n <= f.limit
	} else {
		whole = false
	}
	copyHeader(w.Header(), resp.Header)
	w.WriteHeader(resp.StatusCode)
	if body.Len() > 0 {
		w.Write(body.Bytes())
	}
	if !whole {
		f.stream(w, resp)
	}
	for name, values := range resp.Trailer {
		w.Header()[http.TrailerPrefix+name] = values
	}
}

// stream hands on what is too large to be held back, or has no end. The middleware has recorded
// that the operation is done.
func (f *forwarder) stream(w http.ResponseWriter, resp *http.Response) {
	rc := http.NewResponseController(w)
	var chunk [16 << 10]byte
	for {
		n, err := resp.Body.Read(chunk[:])
		if n > 0 {
			if _, err := w.Write(chunk[:n]); err != nil {
				return // the client is gone
			}
			if resp.ContentLength < 0 {
				rc.Flush()
			}
		}
		if err == io.EOF {
			return
		}
		if err != nil {
			panic(http.ErrAbortHandler) // the only way to tell the client that it was cut off
		}
	}
}

func isEventStream(h http.Header) bool {
	media, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	return strings.EqualFold(strings.TrimSpace(media), "text/event-stream")
}

// copyHeader hands on the fields of a response but for those of one hop.
func copyHeader(to, from http.Header) {
	nominated := from["Connection"]
	for name, values := range from {
		switch name {
		case "Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Te", "Trailer",
			"Transfer-Encoding", "Upgrade":
			continue
		}
		if len(nominated) == 0 || !upstream.Nominates(nominated, name) {
			to[name] = values
		}
	}
	if _, typed := from["Content-Type"]; !typed {
		to["Content-Type"] = nil // or net/http would guess one
	}
}
