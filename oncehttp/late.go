package oncehttp

import (
	"errors"
	"net/http"
	"time"
)

// firstSentHeader says when the client first tried (OASIS Repeatable Requests 1.0, section 3.2).
const firstSentHeader = "Repeatability-First-Sent"

var errFirstSent = errors.New("oncehttp: time of the first try is not a date, or lies in the future")

// late reports whether the first try was so long ago that its record may be gone. It asks the
// client's clock, and so allows for its being wrong on either side.
func (m *Middleware) late(r *http.Request, key string, now time.Time) (bool, error) {
	sent, known, err := firstSent(r, key)
	switch {
	case err != nil:
		return false, err
	case !known:
		return false, nil
	case sent.Sub(now) > m.cfg.ClockTolerance:
		return false, errFirstSent
	}
	return now.Sub(sent) > m.cfg.Retention-m.cfg.ClockTolerance, nil
}

// firstSent returns when the client first sent the request: what it says, or what its key tells.
func firstSent(r *http.Request, key string) (sent time.Time, known bool, err error) {
	switch values := r.Header[firstSentHeader]; len(values) {
	case 0:
	case 1:
		sent, err := http.ParseTime(values[0])
		if err != nil {
			return time.Time{}, false, errFirstSent
		}
		return sent, true, nil
	default:
		return time.Time{}, false, errFirstSent
	}
	ms, known := uuidTime(key)
	if !known {
		ms, known = ulidTime(key)
	}
	return time.UnixMilli(ms), known, nil
}

// uuidTime returns the time in a UUID of version 7 (RFC 9562 section 5.7), in Unix milliseconds.
func uuidTime(s string) (ms int64, ok bool) {
	if len(s) != 36 {
		return 0, false
	}
	for i := range len(s) {
		if dash := i == 8 || i == 13 || i == 18 || i == 23; dash != (s[i] == '-') {
			return 0, false
		} else if dash {
			continue
		}
		digit := hexDigit(s[i])
		if digit < 0 {
			return 0, false
		}
		if i < 13 {
			ms = ms<<4 | digit
		}
	}
	return ms, s[14] == '7' && hexDigit(s[19])>>2 == 0b10
}

func hexDigit(c byte) int64 {
	switch c = lower(c); {
	case isDigit(c):
		return int64(c - '0')
	case 'a' <= c && c <= 'f':
		return int64(c-'a') + 10
	}
	return -1
}

// ulidTime returns the time in a ULID (github.com/ulid/spec), in Unix milliseconds.
func ulidTime(s string) (ms int64, ok bool) {
	if len(s) != 26 || s[0] > '7' {
		return 0, false
	}
	for i := range len(s) {
		digit := base32Digit(s[i])
		if digit < 0 {
			return 0, false
		}
		if i < 10 {
			ms = ms<<5 | digit
		}
	}
	return ms, true
}

// base32Digit returns the value of a digit in Crockford's alphabet, which lacks I, L, O and U.
func base32Digit(c byte) int64 {
	const alphabet = "0123456789abcdefghjkmnpqrstvwxyz"
	for i := range len(alphabet) {
		if alphabet[i] == lower(c) {
			return int64(i)
		}
	}
	return -1
}
