package config

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/oncehq/once"
)

// ParseDuration reads Go's notation, days such as 7d, and forever.
func ParseDuration(s string) (time.Duration, error) {
	if s == "forever" {
		return once.Forever, nil
	}
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			return time.Duration(n) * 24 * time.Hour, nil
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, errors.New("is no duration; write for example 500ms, 10s, 24h, 7d or forever")
	}
	if d < 0 {
		return 0, errors.New("is negative")
	}
	return d, nil
}

// positive is for durations for which neither zero nor forever makes sense.
func positive(s string) (time.Duration, error) {
	d, err := ParseDuration(s)
	switch {
	case err != nil:
		return 0, err
	case d == 0:
		return 0, errors.New("must be more than zero")
	case d == once.Forever:
		return 0, errors.New("must end some time")
	}
	return d, nil
}

// parseSize reads a number of bytes: 4096, 64KiB, 1MiB.
func parseSize(s string) (int64, error) {
	unit, digits := int64(1), s
	for _, u := range []struct {
		suffix string
		bytes  int64
	}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"B", 1}} {
		if d, ok := strings.CutSuffix(s, u.suffix); ok {
			unit, digits = u.bytes, strings.TrimSpace(d)
			break
		}
	}
	n, err := strconv.ParseUint(digits, 10, 32)
	if err != nil || n == 0 {
		return 0, errors.New("is no size; write for example 65536, 64KiB or 1MiB")
	}
	return int64(n) * unit, nil
}

func parseCount(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 31)
	if err != nil {
		return 0, errors.New("is no whole number")
	}
	return int(n), nil
}

func parseBool(s string) (bool, error) {
	switch s {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, errors.New("must be true or false")
}

func parseAddress(s string) (string, error) {
	if _, _, err := net.SplitHostPort(s); err != nil {
		return "", errors.New("is no address; write for example 127.0.0.1:8080 or :8080")
	}
	return s, nil
}

func parseUpstream(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https"):
		return nil, errors.New("is no URL; write for example http://127.0.0.1:9000")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("must have neither user, query nor fragment")
	}
	return u, nil
}

func parseKeyMode(s string) (KeyMode, error) {
	switch s {
	case "optional":
		return KeyOptional, nil
	case "required":
		return KeyRequired, nil
	case "off":
		return KeyOff, nil
	}
	return 0, errors.New("must be optional, required or off")
}

func parseKeep(s string) (Keep, error) {
	switch s {
	case "final":
		return KeepFinal, nil
	case "all":
		return KeepAll, nil
	case "success":
		return KeepSuccess, nil
	}
	return 0, errors.New("must be final, all or success")
}

func parseInDoubt(s string) (once.Policy, error) {
	p, err := once.ParsePolicy(s)
	if err != nil {
		return 0, errors.New("must be rerun or hold")
	}
	return p, nil
}

func parseKeyFrom(s string) (KeyFrom, error) {
	kind, arg, _ := strings.Cut(s, ":")
	switch kind {
	case "header":
		if !isToken(arg) {
			return KeyFrom{}, errors.New("has no name of a header field; write for example header:X-Event-Id")
		}
		return KeyFrom{Kind: kind, Name: http.CanonicalHeaderKey(arg)}, nil
	case "json":
		if arg == "" {
			return KeyFrom{}, errors.New("has no field; write for example json:id or json:/data/id")
		}
		return KeyFrom{Kind: kind, Name: arg}, nil
	case "payload":
		if arg == "" {
			return KeyFrom{Kind: kind}, nil
		}
	}
	return KeyFrom{}, errors.New("must be header:NAME, json:FIELD or payload")
}

// isToken reports whether s is a token (RFC 9110 section 5.6.2).
func isToken(s string) bool {
	for _, r := range s {
		if r <= ' ' || r >= 0x7f || strings.ContainsRune("\"(),/:;<=>?@[\\]{}", r) {
			return false
		}
	}
	return s != ""
}

// parseMethods refuses the methods that are safe: their answers may change and they have no
// effect to guard.
func parseMethods(s string) ([]string, error) {
	var methods []string
	for m := range strings.SplitSeq(s, ",") {
		m = strings.TrimSpace(m)
		if err := checkMethod(m); err != nil {
			return nil, err
		}
		methods = append(methods, m)
	}
	return methods, nil
}

func checkMethod(m string) error {
	switch m {
	case "GET", "HEAD", "OPTIONS", "TRACE", "CONNECT":
		return fmt.Errorf("has %s, which is never guarded", m)
	}
	if !isToken(m) || strings.ToUpper(m) != m {
		return errors.New("must be methods in capitals, separated by commas, for example POST,PATCH")
	}
	return nil
}

func parseLevel(s string) (slog.Level, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(s)); err != nil {
		return 0, errors.New("must be debug, info, warn or error")
	}
	return l, nil
}
