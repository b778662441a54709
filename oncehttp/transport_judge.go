package oncehttp

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// A Verdict says if another try may change the answer to a request.
type Verdict uint8

const (
	ByTable  Verdict = iota // as the documentation of [Transport] has it
	TryAgain                // another try may be answered otherwise
	Answered                // this is the answer
)

// maxProblem is how much of a problem document is read to find out if it is worth trying again.
const maxProblem = 16 << 10

// judge reports whether another try may be answered otherwise, and after which time.
func (s *sending) judge(try *sentTry) (again bool, atLeast time.Duration) {
	if judge := s.t.cfg.Judge; judge != nil {
		if v := judge(try.res, try.err); v != ByTable {
			return v == TryAgain, retryAfter(try.res)
		}
	}
	if try.err != nil {
		return !isPermanent(try.err), 0
	}
	again = s.judgeResponse(try)
	if try.err != nil { // the response broke off
		return true, 0
	}
	return again, retryAfter(try.res)
}

// isPermanent reports whether an error of the connection is likely to stay. Whatever else goes
// wrong is tried again, since that is safe.
func isPermanent(err error) bool {
	if _, ok := errors.AsType[*bodyError](err); ok {
		return true
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return true
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok { // the other side does not speak TLS
		return true
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return dns.IsNotFound
	}
	return errors.Is(err, http.ErrSchemeMismatch)
}

func (s *sending) judgeResponse(try *sentTry) bool {
	status, h := try.res.StatusCode, try.res.Header
	if status < 400 || status == http.StatusBadRequest || status == http.StatusUnprocessableEntity {
		return false
	}
	switch h.Get("Stripe-Should-Retry") {
	case "true":
		return true
	case "false":
		return false
	}
	if Replayed(try.res) {
		return false
	}
	problem := try.peekProblem()
	if problem.Retryable != nil {
		return *problem.Retryable
	}
	switch status {
	case http.StatusConflict:
		// The standard has 409 for a key in flight. Applications have it for conflicts of their
		// own, and if they say so a retry is of no use.
		foreign := problem.Type != "" && problem.Type != "about:blank"
		return s.key != "" && (!foreign || h.Get("Retry-After") != "")
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests,
		http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout,
		520, 521, 522, 523, 524: // a proxy could not get a response from the origin
		return true
	}
	return false
}

// Replayed reports whether a server has marked the response as a replay, by one of the names in
// use: [DefaultReplayHeader], Idempotent-Replayed or X-Idempotent-Replayed. It is for clients.
func Replayed(res *http.Response) bool {
	for _, mark := range []string{DefaultReplayHeader, "Idempotent-Replayed", "X-Idempotent-Replayed"} {
		if strings.EqualFold(res.Header.Get(mark), "true") {
			return true
		}
	}
	return false
}

// problemHints is what counts here of an RFC 9457 problem.
type problemHints struct {
	Type      string `json:"type"`
	Retryable *bool  `json:"retryable"`
}

// peekProblem returns what a problem document says, and leaves the body as it was. If the
// response breaks off meanwhile, the try has an error instead of it.
func (try *sentTry) peekProblem() (hints problemHints) {
	if media := mediaType(try.res.Header.Get("Content-Type")); !strings.EqualFold(media, "application/problem+json") {
		return hints
	}
	body := try.res.Body
	head, err := io.ReadAll(io.LimitReader(body, maxProblem))
	if err != nil {
		try.fail(err)
		return hints
	}
	try.res.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(head), body), body}
	if json.Unmarshal(head, &hints) != nil {
		return problemHints{}
	}
	return hints
}

// retryAfter returns what the Retry-After field says (RFC 9110 section 10.2.3), or 0. A date is
// compared to that of the response: it is the server's clock that counts.
func retryAfter(res *http.Response) time.Duration {
	if res == nil {
		return 0
	}
	value := res.Header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(value, 10, 63); err == nil {
		const most = uint64(1<<63-1) / uint64(time.Second)
		return time.Duration(min(seconds, most)) * time.Second
	} else if errors.Is(err, strconv.ErrRange) {
		return 1<<63 - 1
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	now, err := http.ParseTime(res.Header.Get("Date"))
	if err != nil {
		now = time.Now()
	}
	return max(at.Sub(now), 0)
}
