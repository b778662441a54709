package oncehttp

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
)

// A replayableBody gives out a request's body, if possible more than once.
type replayableBody struct {
	first  io.ReadCloser // for the first try
	again  func() (io.ReadCloser, error)
	length int64 // -1: as the request says
}

// openBody makes the request's body replayable, if it can. After an error the body is closed.
func (t *Transport) openBody(req *http.Request) (replayableBody, error) {
	switch {
	case req.Body == nil || req.Body == http.NoBody:
		body := req.Body
		return replayableBody{body, func() (io.ReadCloser, error) { return body, nil }, -1}, nil
	case req.GetBody != nil:
		return replayableBody{req.Body, req.GetBody, -1}, nil
	case t.cfg.ReplayBody < 0 || req.ContentLength > t.cfg.ReplayBody:
		return replayableBody{req.Body, nil, -1}, nil
	}
	read, err := readWithin(req.Context(), req.Body, t.cfg.ReplayBody+1)
	if err != nil {
		req.Body.Close()
		return replayableBody{}, fmt.Errorf("oncehttp: transport: body cannot be read: %w", err)
	}
	if int64(len(read)) > t.cfg.ReplayBody {
		rest := struct {
			io.Reader
			io.Closer
		}{io.MultiReader(bytes.NewReader(read), req.Body), req.Body}
		return replayableBody{rest, nil, -1}, nil
	}
	req.Body.Close()
	again := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(read)), nil }
	first, _ := again()
	length := int64(-1)
	if req.ContentLength <= 0 && len(req.TransferEncoding) == 0 && len(req.Trailer) == 0 {
		length = int64(len(read)) // it was not known
		if length == 0 {
			again = func() (io.ReadCloser, error) { return http.NoBody, nil }
			first = http.NoBody
		}
	}
	return replayableBody{first, again, length}, nil
}

// readWithin reads at most limit bytes. When the context ends it closes the body to end a read
// that hangs, as a RoundTripper may.
func readWithin(ctx context.Context, body io.ReadCloser, limit int64) ([]byte, error) {
	stop := context.AfterFunc(ctx, func() { body.Close() })
	defer stop()
	read, err := io.ReadAll(io.LimitReader(body, limit))
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return read, err
}
