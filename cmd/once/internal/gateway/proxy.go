package gateway

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/oncehq/once/cmd/once/internal/config"
)

// maxIdle is how many unused connections to the service are kept.
const maxIdle = 512

// newProxy returns the handler for requests that are not guarded: streams, upgrades, safe methods,
// and operations without a key.
func newProxy(cfg config.Upstream, scheme string, trust *tls.Config, log *slog.Logger) (*httputil.ReverseProxy, *http.Transport) {
	var http1 http.Protocols
	http1.SetHTTP1(true)
	transport := &http.Transport{
		Proxy:                 nil, // the environment has no say in where requests go
		DialContext:           (&retryDialer{net.Dialer{Timeout: cfg.Connect}, cfg.Retries}).dial,
		TLSClientConfig:       trust,
		TLSHandshakeTimeout:   cfg.Connect,
		Protocols:             &http1,
		DisableCompression:    true,
		MaxIdleConnsPerHost:   maxIdle,
		IdleConnTimeout:       cfg.Idle,
		ResponseHeaderTimeout: cfg.Timeout,
	}
	return &httputil.ReverseProxy{
		Rewrite:      func(pr *httputil.ProxyRequest) { rewrite(pr, cfg.URL, cfg.Host, scheme) },
		Transport:    transport,
		BufferPool:   newChunks(),
		ErrorLog:     slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) { unguardedError(w, r, err, log) },
	}, transport
}

// rewrite addresses the request to the service, whatever the client asked for.
func rewrite(pr *httputil.ProxyRequest, base *url.URL, host, scheme string) {
	out := pr.Out
	out.URL.Scheme, out.URL.Host = base.Scheme, base.Host
	if prefix := strings.TrimSuffix(base.EscapedPath(), "/"); prefix != "" {
		path := prefix + out.URL.EscapedPath()
		if decoded, err := url.PathUnescape(path); err == nil {
			out.URL.Path, out.URL.RawPath = decoded, path
		}
	}
	out.URL.RawQuery = pr.In.URL.RawQuery // as it was sent
	if host != "" {
		out.Host = host
	}
	forwarded(out.Header, pr.In, scheme)
	if isSafe(out.Method) {
		return
	}
	if len(out.Header[keyField]) == 0 {
		// Our own tries to reach the service are the same operation.
		out.Header.Set(DerivedField, newUUID())
	}
	if out.Body == nil || out.Body == http.NoBody {
		out.Body = noBody{}
	}
}

const (
	forwardedFor   = "X-Forwarded-For"
	forwardedProto = "X-Forwarded-Proto"
)

// forwarded tells the service about the client, as [forwarder.appendForwarded] does. What proxies
// before have told was removed, and is put back.
func forwarded(out http.Header, in *http.Request, scheme string) {
	for _, name := range []string{"Forwarded", forwardedFor, forwardedProto, "X-Forwarded-Host"} {
		if values := in.Header[name]; len(values) > 0 {
			out[name] = slices.Clone(values)
		}
	}
	if len(out[forwardedProto]) == 0 {
		out.Set(forwardedProto, scheme)
	}
	if ip, _, err := net.SplitHostPort(in.RemoteAddr); err == nil {
		out.Add(forwardedFor, ip)
	}
}

func isSafe(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	}
	return false
}

// noBody is an empty body that the transport cannot tell from another. It sends a request that has
// a key and no body a second time when a connection breaks, since it takes keys for a promise; what
// the service makes of them we do not know.
type noBody struct{}

func (noBody) Read([]byte) (int, error) { return 0, io.EOF }
func (noBody) Close() error             { return nil }

// A retryDialer tries again while nothing was sent.
type retryDialer struct {
	net.Dialer
	retries int
}

func (d *retryDialer) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	for try := 0; ; try++ {
		c, err := d.DialContext(ctx, network, addr)
		if err == nil || try >= d.retries {
			return c, err
		}
		select {
		case <-time.After(20 * time.Millisecond << min(try, 4)):
		case <-ctx.Done():
			return nil, err
		}
	}
}

// unguardedError answers when the service did not. What it means for the operation is for the
// client to find out; there is no record.
func unguardedError(w http.ResponseWriter, r *http.Request, err error, log *slog.Logger) {
	if r.Context().Err() != nil {
		return // the client is gone
	}
	instance := writeProblem(w, problemBroken, http.StatusBadGateway, "The service does not answer", "")
	log.LogAttrs(r.Context(), slog.LevelWarn, "service does not answer", slog.String("instance", instance),
		slog.String("method", r.Method), slog.Any("error", err))
}

// chunks are the buffers that responses are copied with.
type chunks struct{ pool sync.Pool }

func newChunks() *chunks {
	return &chunks{sync.Pool{New: func() any { return new([32 << 10]byte) }}}
}

func (c *chunks) Get() []byte  { return c.pool.Get().(*[32 << 10]byte)[:] }
func (c *chunks) Put(b []byte) { c.pool.Put((*[32 << 10]byte)(b)) }
