// Package load is a closed-loop load generator for HTTP/1.1: each connection sends its next
// request when it has read the answer to the last. It does as little as possible itself, since it shares the
// machine with what it measures.
package load

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"
)

// A Plan says what is sent to a server.
type Plan struct {
	Addr     string
	Path     string        // Defaults to /.
	Conns    int           // Required.
	Duration time.Duration // Required.
	Body     []byte
	Header   string // further header lines, each ended by CRLF

	// Key returns the idempotency key of a connection's nth request. Empty: none is sent.
	Key func(conn, n int) string
}

// A Result is what came of a plan.
type Result struct {
	Requests  int
	Elapsed   time.Duration
	Latencies []time.Duration // of all requests, sorted
}

// Rate returns requests per second.
func (r Result) Rate() float64 { return float64(r.Requests) / r.Elapsed.Seconds() }

// Quantile returns the latency that the fraction q of the requests did not exceed.
func (r Result) Quantile(q float64) time.Duration {
	if len(r.Latencies) == 0 {
		return 0
	}
	return r.Latencies[min(int(q*float64(len(r.Latencies))), len(r.Latencies)-1)]
}

// Run carries out the plan. Any answer but a 2xx is an error: a fast refusal must not count.
func Run(p Plan) (Result, error) {
	conns := make([]*Conn, p.Conns)
	for i := range conns {
		c, err := Dial(p.Addr)
		if err != nil {
			return Result{}, err
		}
		defer c.Close()
		conns[i] = c
	}
	var wg sync.WaitGroup
	errs := make([]error, p.Conns)
	lats := make([][]time.Duration, p.Conns)
	start := time.Now()
	end := start.Add(p.Duration)
	for i, c := range conns {
		wg.Go(func() { lats[i], errs[i] = c.loop(p, i, end) })
	}
	wg.Wait()
	res := Result{Elapsed: time.Since(start), Latencies: slices.Concat(lats...)}
	res.Requests = len(res.Latencies)
	slices.Sort(res.Latencies)
	return res, errors.Join(errs...)
}

func (c *Conn) loop(p Plan, conn int, end time.Time) ([]time.Duration, error) {
	lats := make([]time.Duration, 0, 1<<14)
	for n, now := 0, time.Now(); now.Before(end); n++ {
		key := ""
		if p.Key != nil {
			key = p.Key(conn, n)
		}
		a, err := c.Do(p, key)
		if err != nil {
			return lats, err
		}
		if a.Status/100 != 2 {
			return lats, fmt.Errorf("load: status %d: %s", a.Status, a.Body)
		}
		done := time.Now()
		lats = append(lats, done.Sub(now))
		now = done
	}
	return lats, nil
}

// A Conn is one connection. It is not safe for use by several goroutines.
type Conn struct {
	nc   net.Conn
	r    *bufio.Reader
	buf  []byte
	body []byte
}

// Dial connects to a server.
func Dial(addr string) (*Conn, error) {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	return &Conn{nc: nc, r: bufio.NewReaderSize(nc, 8<<10)}, nil
}

// Close closes the connection.
func (c *Conn) Close() error { return c.nc.Close() }

// An Answer is a response. Body is valid until the connection's next request.
type Answer struct {
	Status int
	Body   []byte
}

// Do sends one request and reads its answer.
func (c *Conn) Do(p Plan, key string) (Answer, error) {
	path := p.Path
	if path == "" {
		path = "/"
	}
	b := append(c.buf[:0], "POST "...)
	b = append(b, path...)
	b = append(b, " HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: "...)
	b = strconv.AppendInt(b, int64(len(p.Body)), 10)
	if key != "" {
		b = append(b, "\r\nIdempotency-Key: \""...)
		b = append(b, key...)
		b = append(b, '"')
	}
	b = append(b, "\r\n"...)
	b = append(b, p.Header...)
	b = append(b, "\r\n"...)
	b = append(b, p.Body...)
	c.buf = b
	if _, err := c.nc.Write(b); err != nil {
		return Answer{}, err
	}
	return c.read()
}

var contentLength = []byte("content-length:")

func (c *Conn) read() (Answer, error) {
	line, err := c.r.ReadSlice('\n')
	if err != nil {
		return Answer{}, err
	}
	if len(line) < 12 {
		return Answer{}, fmt.Errorf("load: malformed status line %q", line)
	}
	status, err := strconv.Atoi(string(line[9:12]))
	if err != nil {
		return Answer{}, err
	}
	length := -1
	for {
		line, err := c.r.ReadSlice('\n')
		if err != nil {
			return Answer{}, err
		}
		if len(line) <= 2 {
			break
		}
		if len(line) > len(contentLength) && bytes.EqualFold(line[:len(contentLength)], contentLength) {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(line[len(contentLength):]))); err != nil {
				return Answer{}, err
			}
		}
	}
	if length < 0 {
		return Answer{}, errors.New("load: answer without Content-Length")
	}
	if cap(c.body) < length {
		c.body = make([]byte, length)
	}
	c.body = c.body[:length]
	_, err = io.ReadFull(c.r, c.body)
	return Answer{Status: status, Body: c.body}, err
}
