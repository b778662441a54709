package verify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// maxResponse is the largest body that is read, in bytes.
const maxResponse = 16 << 20

// errBudget: no more requests may be sent.
var errBudget = errors.New("the number of requests is used up; raise --max-requests")

// A request is what is sent, once or several times.
type request struct {
	method, url, body string
	keys              []string // field values as they are on the wire; none: no key
	other             bool     // with the credentials of somebody else
	plain             bool     // without the header of the configuration: for another origin
}

// An answer is what a request got.
type answer struct {
	status int
	header http.Header
	body   []byte
	err    error // instead of a response
	sent   time.Time
	done   time.Time
}

func (a answer) ok() bool { return a.err == nil && a.status >= 200 && a.status < 300 }

func (a answer) took() time.Duration { return a.done.Sub(a.sent) }

// String says what was answered, in short.
func (a answer) String() string {
	if a.err != nil {
		return "no answer"
	}
	return fmt.Sprint(a.status)
}

// An exchange is a request and its answer, for people.
type exchange struct {
	request request
	answer  answer
	hungUp  bool
}

// A client sends requests, as many as it may.
type client struct {
	cfg  *Config
	http *http.Client
	sent atomic.Int64

	mu        sync.Mutex
	exchanges []exchange // of the group of checks that runs
}

func newClient(cfg *Config) *client {
	t := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         dialWire,
		ForceAttemptHTTP2:   true,
		DisableCompression:  true, // bytes are compared as they are sent
		MaxIdleConnsPerHost: cfg.Concurrency,
		IdleConnTimeout:     5 * time.Second,
	}
	return &client{cfg: cfg, http: &http.Client{
		Transport:     t,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func (c *client) close() { c.http.CloseIdleConnections() }

// userAgent names the checks that run: their service may find them in its log, and a test stand may
// slow the operation down for those that need overlapping requests.
func userAgent(group string) string { return "once-verify (" + group + ")" }

// send sends a request and reads the response. An error is returned only if no request may be sent
// any more; one of the connection is in the answer.
func (c *client) send(ctx context.Context, group string, r request) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.RequestTimeout)
	defer cancel()
	return c.exchange(ctx, group, r, nil)
}

// sendAndHangUp sends a request and closes the connection, at the earliest so long after the request
// has left, without looking at the response.
func (c *client) sendAndHangUp(ctx context.Context, group string, r request, after time.Duration) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.RequestTimeout)
	defer cancel()
	gone := newDeparture()
	traced := httptrace.WithClientTrace(ctx, gone.trace())
	go func() {
		gone.wait(ctx)
		wait(ctx, after)
		cancel()
	}()
	return c.exchange(traced, group, r, ctx.Done())
}

// exchange sends a request. If hangUp is not nil the response is not read, and the connection broken
// off when hangUp is closed.
func (c *client) exchange(ctx context.Context, group string, r request, hangUp <-chan struct{}) (answer, error) {
	if err := context.Cause(ctx); err != nil {
		return answer{}, err
	}
	if c.sent.Add(1) > int64(c.cfg.MaxRequests) {
		c.sent.Add(-1)
		return answer{}, errBudget
	}
	var body io.Reader
	if r.body != "" {
		body = strings.NewReader(r.body)
	}
	req, err := http.NewRequestWithContext(ctx, r.method, r.url, body)
	if err != nil {
		return answer{}, err
	}
	req.Header = c.headerOf(r)
	req.Header.Set("User-Agent", userAgent(group))
	if host := req.Header.Get("Host"); host != "" {
		req.Host = host
		req.Header.Del("Host")
	}
	// The transport itself sends a request with a key again if it finds that an idle connection
	// was closed meanwhile. That is a retry like any other.
	a := answer{sent: time.Now()}
	res, err := c.http.Do(req)
	switch {
	case err != nil:
		a.err = err
	case hangUp != nil:
		<-hangUp
		res.Body.Close()
		a.err = context.Canceled
	default:
		a.status, a.header = res.StatusCode, res.Header
		a.body, a.err = io.ReadAll(io.LimitReader(res.Body, maxResponse+1))
		res.Body.Close()
		if a.err == nil && len(a.body) > maxResponse {
			a.err = fmt.Errorf("response is larger than %d bytes", maxResponse)
		}
	}
	a.done = time.Now()
	c.mu.Lock()
	c.exchanges = append(c.exchanges, exchange{r, a, hangUp != nil})
	c.mu.Unlock()
	return a, nil
}

// headerOf returns the fields of a request but the user agent.
func (c *client) headerOf(r request) http.Header {
	h := http.Header{}
	if !r.plain {
		h = c.cfg.Header.Clone()
	}
	if r.other {
		for name, values := range c.cfg.OtherHeader {
			h[name] = values
		}
	}
	if r.body == "" {
		h.Del("Content-Type")
	}
	if len(r.keys) > 0 {
		h[c.cfg.KeyHeader] = r.keys
	}
	return h
}

// taken returns the exchanges since it was called last.
func (c *client) taken() []exchange {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.exchanges
	c.exchanges = nil
	return e
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
