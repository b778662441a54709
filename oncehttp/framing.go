package oncehttp

import "net/http"

// Sizes of the buffers between a handler and the connection in net/http. What fits in is sent
// with its length; the start of what does not is sent before its length is known.
const (
	buffer1  = 2048 // HTTP/1.x
	buffer2  = 4096 // HTTP/2
	sniffLen = 512  // of a body, for its content type
)

// A framing works out what net/http would make of the handler's writes if they were not held
// back: whether the header leaves before the end of the handler, so that the body's length is
// not part of it, and from how much of the body the content type is guessed.
type framing struct {
	size     int  // of the buffer
	copies   bool // the connection reads from files by itself, and the buffer is passed by
	buffered int
	total    int
	early    bool // the header leaves before the handler returns
	sniff    int  // how much of the body the content type is guessed from, if early
}

func framingFor(r *http.Request) framing {
	if r.ProtoMajor >= 2 {
		return framing{size: buffer2}
	}
	return framing{size: buffer1, copies: r.TLS == nil}
}

// write notes that the handler wrote n bytes. The buffer is that of package bufio.
func (f *framing) write(n int) {
	for n > f.size-f.buffered {
		k := n
		if f.buffered > 0 {
			k = f.size - f.buffered
		}
		f.total += k
		f.leave(f.buffered + k)
		f.buffered = 0
		n -= k
	}
	f.total += n
	f.buffered += n
}

// writeString notes that the handler wrote a string of n bytes. Package bufio passes a large slice on
// as it is, but cuts a string where its buffer ends.
func (f *framing) writeString(n int) {
	for n > f.size-f.buffered {
		k := f.size - f.buffered
		f.total += k
		f.leave(f.size)
		f.buffered = 0
		n -= k
	}
	f.total += n
	f.buffered += n
}

// isCut reports whether it makes a difference if n bytes are written as a string.
func (f *framing) isCut(n int) bool {
	return n-(f.size-f.buffered) > f.size || f.buffered == 0 && n > f.size
}

// flush notes that the handler asked for what it wrote to be sent.
func (f *framing) flush() {
	f.leave(f.buffered)
	f.buffered = 0
}

// copied notes that the handler let the connection read n bytes.
func (f *framing) copied(n int) {
	if f.copies && !f.early {
		start := min(n, sniffLen)
		f.write(start)
		if n -= start; start < sniffLen {
			return
		}
		f.flush()
	}
	f.write(n)
}

func (f *framing) leave(n int) {
	if !f.early {
		f.early, f.sniff = true, min(n, sniffLen)
	}
}

// An action is something that the handler did with its response, to be done again with the
// client's.
type action struct {
	kind actionKind
	n    int32 // bytes
}

type actionKind uint8

const (
	wrote       actionKind = iota
	wroteString            // and that made a difference
	copied
	flushed
)

// joins reports whether a write of n bytes right after another one comes to the same as one write of
// both. Only then may they be noted as one: where a chunk of the body ends depends on it.
func (f *framing) joins(n int) bool { return f.buffered > 0 && f.buffered+n <= f.size }
