package oncehttp

import (
	"errors"
	"io"
	"net/http"
	"sync"
)

var errTooLarge = errors.New("oncehttp: request body is too large")

// firstRead bounds what is set aside for a body before any of it has come: a client that only
// announces a large one gets no more.
const firstRead = 64 << 10

// readBody appends the whole body, of at most limit bytes, to buf, which is empty. It returns nil
// if there is no body.
func readBody(buf []byte, r *http.Request, limit int64) ([]byte, error) {
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
	body := buf
	if size = min(size, firstRead); int64(cap(body)) < size {
		body = make([]byte, 0, size)
	}
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

// A heldBody is a body that was read before, for a handler. Its memory is used again for the next
// request, so that, like the body of a server, it cannot be read any more once the handler has
// returned: not even by a goroutine that the handler left behind.
type heldBody struct {
	mu   sync.Mutex // guards all, and what its readers have read
	data []byte
	over bool
}

// end is the end for all readers.
func (h *heldBody) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.data, h.over = nil, true
}

// open returns a reader from the start. It lets the handler's own client repeat the request that
// it passes on.
func (h *heldBody) open() (io.ReadCloser, error) { return &bodyReader{held: h}, nil }

// A bodyReader is what the handler reads. It belongs to one goroutine at a time.
type bodyReader struct {
	held   *heldBody
	at     int
	closed bool
}

func (b *bodyReader) Read(p []byte) (int, error) {
	b.held.mu.Lock()
	defer b.held.mu.Unlock()
	switch {
	case b.closed || b.held.over:
		return 0, http.ErrBodyReadAfterClose
	case b.at == len(b.held.data):
		return 0, io.EOF
	}
	n := copy(p, b.held.data[b.at:])
	b.at += n
	return n, nil
}

func (b *bodyReader) Close() error {
	b.held.mu.Lock()
	defer b.held.mu.Unlock()
	b.closed = true
	return nil
}
