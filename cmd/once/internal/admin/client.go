package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/oncehq/once"
)

// A Client is the [Records] of a store that another process has open.
type Client struct {
	http *http.Client
}

var _ Records = (*Client)(nil)

// Dial connects to the process that has the store in the directory open. It fails if there is
// none.
func Dial(ctx context.Context, dir string) (*Client, error) {
	var d net.Dialer
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return d.DialContext(ctx, "unix", SocketPath(dir))
	}
	c, err := dial(ctx, "", "")
	if err != nil {
		return nil, err
	}
	c.Close()
	return &Client{&http.Client{Transport: &http.Transport{DialContext: dial}}}, nil
}

// Close gives the connections back.
func (c *Client) Close() error {
	c.http.CloseIdleConnections()
	return nil
}

// List implements [once.Lister].
func (c *Client) List(ctx context.Context, f once.Filter) iter.Seq2[once.Record, error] {
	return func(yield func(once.Record, error) bool) {
		q := url.Values{"scope": {f.Scope}}
		if f.State != 0 {
			q.Set("state", f.State.String())
		}
		if f.OlderThan != 0 {
			q.Set("older", f.OlderThan.String())
		}
		resp, err := c.do(ctx, http.MethodGet, "records?"+q.Encode(), nil)
		if err != nil {
			yield(once.Record{}, err)
			return
		}
		defer resp.Body.Close()
		for dec := json.NewDecoder(resp.Body); ; {
			var l line
			switch err := dec.Decode(&l); {
			case err != nil:
				yield(once.Record{}, fmt.Errorf("list was cut off: %w", err))
				return
			case l.Record != nil:
				if !yield(l.Record.toRecord(), nil) {
					return
				}
			case l.End != nil:
				if err := l.End.toError(); err != nil {
					yield(once.Record{}, err)
				}
				return
			}
		}
	}
}

// Load implements [Records].
func (c *Client) Load(ctx context.Context, k once.Key) (once.Record, error) {
	var rec record
	err := c.post(ctx, "load", keyed(k, once.Owner{}), &rec)
	if err != nil {
		return once.Record{}, err
	}
	return rec.toRecord(), nil
}

// Complete implements [Records].
func (c *Client) Complete(ctx context.Context, k once.Key, o once.Owner, out once.Outcome, retention time.Duration) error {
	cmd := keyed(k, o)
	cmd.Failed, cmd.Type, cmd.Data, cmd.Retention = out.Failed, out.Type, out.Data, retention
	return c.post(ctx, "complete", cmd, &struct{}{})
}

// Release implements [Records].
func (c *Client) Release(ctx context.Context, k once.Key, o once.Owner) error {
	return c.post(ctx, "release", keyed(k, o), &struct{}{})
}

// Forget implements [once.Forgetter].
func (c *Client) Forget(ctx context.Context, k once.Key, o once.Owner) error {
	return c.post(ctx, "forget", keyed(k, o), &struct{}{})
}

func keyed(k once.Key, o once.Owner) command {
	return command{Scope: []byte(k.Scope), ID: []byte(k.ID), Owner: o}
}

func (c *Client) post(ctx context.Context, verb string, cmd command, into any) error {
	body, err := json.Marshal(cmd)
	if err != nil {
		return err
	}
	resp, err := c.do(ctx, http.MethodPost, verb, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return json.NewDecoder(resp.Body).Decode(into)
}

// do returns a response of status 200, or the error that the other process has met.
func (c *Client) do(ctx context.Context, method, path string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://once/"+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	var f failure
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if json.Unmarshal(text, &f) != nil || f == (failure{}) {
		return nil, fmt.Errorf("admin socket: status %d", resp.StatusCode)
	}
	return nil, f.toError()
}
