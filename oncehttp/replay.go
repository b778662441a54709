package oncehttp

import (
	"errors"
	"net/http"

	"github.com/oncehq/once"
)

var errForeign = errors.New("oncehttp: recorded outcome is not a response; " +
	"use one scope for one kind of operation")

// replay gives the client the recorded response.
func (m *Middleware) replay(
	w http.ResponseWriter, r *http.Request, s *scratch, k once.Key, out once.Outcome,
) {
	if out.Type != messageType && out.Type != notKeptType {
		m.refuse(w, r, ProblemUnreadable, k, errForeign)
		return
	}
	p, ok := parseMessage(out.Data, s.header.fields)
	if !ok {
		m.refuse(w, r, ProblemUnreadable, k, errForeign)
		return
	}
	if out.Type == notKeptType {
		m.mark(w.Header(), "true")
		m.writeProblem(w, ProblemResponseNotKept, func(problem *Problem) { problem.OriginalStatus = p.status })
		return
	}
	m.writeReplay(w, r, &p)
	s.header.fields = p.fields[:0]
	clear(p.fields[:cap(p.fields)])
}

func (m *Middleware) writeReplay(w http.ResponseWriter, r *http.Request, p *parsedMessage) {
	h := w.Header()
	typed := len(h["Content-Type"]) > 0
	for _, f := range p.fields[:p.header] {
		h[f.name] = p.values[f.lo:f.hi:f.hi]
		typed = typed || f.name == "Content-Type"
	}
	if !typed && len(p.body) > 0 {
		h["Content-Type"] = nil // there was none; net/http must not guess it
	}
	at := len(p.values)
	p.values = append(p.values, "no-store", "true")
	h["Cache-Control"] = p.values[at : at+1 : at+1]
	h[m.cfg.ReplayHeader] = p.values[at+1 : at+2 : at+2]
	expose(h, m.cfg.ReplayHeader)
	w.WriteHeader(p.status)
	for _, f := range p.fields[p.header:] {
		h[http.TrailerPrefix+f.name] = p.values[f.lo:f.hi:f.hi]
	}
	if len(p.body) > 0 && bodyAllowed(p.status) {
		w.Write(p.body)
	}
	if p.chunked && len(p.body) <= buffer2 && (r.ProtoMajor < 2 || len(p.fields) == p.header) {
		// The length of the first response was not told beforehand. In HTTP/1.1 trailers depend
		// on that.
		http.NewResponseController(w).Flush()
	}
}

// mark marks a response as a replay.
func (m *Middleware) mark(h http.Header, value string) {
	h[m.cfg.ReplayHeader] = []string{value}
	expose(h, m.cfg.ReplayHeader)
}
