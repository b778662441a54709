package oncehttp

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"sync"
)

var errTooLarge = errors.New("oncehttp: request body is too large")

// firstRead bounds what is set aside for a body before any of it has come: a client that only
// announces a large one gets no more.
const firstRead = 64 << 10

// readBody reads the whole body, of at most limit bytes.
func readBody(r *http.Request, limit int64) ([]byte, error) {
	if r.Body == nil || r.Body == http.NoBody {
		return nil, nil
	}
	if r.ContentLength > limit {
		return nil, errTooLarge
	}
	size := int64(512)
	if r.ContentLength >= 0 {
		size = r.ContentLength + 1 // the end is seen only by reading on
	}
	body := make([]byte, 0, min(size, firstRead))
	for {
		if len(body) == cap(body) {
			body = append(body, 0)[:len(body)]
		}
		n, err := r.Body.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		if int64(len(body)) > limit {
			return nil, errTooLarge
		}
		if err == io.EOF {
			return body, nil
		}
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return nil, errTooLarge
		}
		if err != nil {
			return nil, err
		}
	}
}

// bufferedBody is a body that was read before. Like the body of a server it cannot be read any
// more once the handler has returned.
type bufferedBody struct {
	mu     sync.Mutex // guards all
	rest   bytes.Reader
	closed bool
}

func (b *bufferedBody) reset(body []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rest.Reset(body)
	b.closed = false
}

func (b *bufferedBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return 0, http.ErrBodyReadAfterClose
	}
	return b.rest.Read(p)
}

func (b *bufferedBody) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.rest.Reset(nil)
	return nil
}
