package oncehttp

import (
	"bytes"
	"io"
	"maps"
	"net/http"
)

// emit does with the client's writer what the handler did with this one. The header must be
// what the handler has left.
func (rec *recorder) emit() {
	if rec.status == 0 {
		return // the handler did nothing, and the server will say so
	}
	h := rec.w.Header()
	if rec.scratch.header.is(h) {
		rec.w.WriteHeader(rec.status)
	} else {
		// What was changed since then may be trailers.
		final := maps.Clone(h)
		rec.scratch.header.restore(h)
		rec.w.WriteHeader(rec.status)
		clear(h)
		maps.Copy(h, final)
	}
	body := rec.scratch.body
	for _, a := range rec.scratch.actions {
		part := body[:a.n]
		body = body[a.n:]
		switch {
		case a.kind == flushed:
			http.NewResponseController(rec.w).Flush()
		case a.n == 0:
		case a.kind == wrote:
			rec.w.Write(part)
		case a.kind == wroteString:
			//lint:ignore SA6006 the client's writer cuts strings at other places
			io.WriteString(rec.w, string(part))
		case a.kind == copied:
			// Hide that the source could write itself: then nothing would be copied.
			io.Copy(rec.w, struct{ io.Reader }{bytes.NewReader(part)})
		}
	}
}

// resetHeader makes the header what it was before the handler ran.
func (rec *recorder) resetHeader() {
	h := rec.w.Header()
	clear(h)
	maps.Copy(h, rec.entry.Clone())
}
