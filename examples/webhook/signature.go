package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	signatureHeader = "Webhook-Signature" // at Stripe it is Stripe-Signature, of the same form
	maxBody         = 256 << 10           // of an event, in bytes
)

// A signature is checked as Stripe describes it: the header has "t=TIME,v1=MAC", where TIME is
// the delivery's in Unix seconds and MAC the HMAC-SHA256 of "TIME.BODY" in hex. There may be
// several of v1, while a secret is being replaced by another one, and of other names, which are
// ignored.
type signature struct {
	secret    []byte
	tolerance time.Duration // how far the time may be from now, before or after
	now       func() time.Time
}

// required returns a handler that lets deliveries pass whose signature is valid.
func (s signature) required(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
			http.Error(w, "the event is too large", http.StatusRequestEntityTooLarge)
			return
		}
		if err != nil {
			http.Error(w, "the event is cut off", http.StatusBadRequest)
			return
		}
		if err := s.check(r.Header.Values(signatureHeader), body); err != nil {
			// Why is nobody's business but the operator's.
			slog.Warn("a delivery is refused", "error", err)
			http.Error(w, "the signature is not valid", http.StatusForbidden)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body)) // that which was signed
		next.ServeHTTP(w, r)
	})
}

func (s signature) check(header []string, body []byte) error {
	if len(header) != 1 {
		return fmt.Errorf("there are %d signatures, want 1", len(header))
	}
	var at string
	var macs [][]byte
	for part := range strings.SplitSeq(header[0], ",") {
		switch name, value, _ := strings.Cut(part, "="); name {
		case "t":
			if at != "" {
				return errors.New("the signature has two times")
			}
			at = value
		case "v1":
			mac, err := hex.DecodeString(value)
			if err != nil {
				return errors.New("the signature is not in hex")
			}
			macs = append(macs, mac)
		}
	}
	seconds, err := strconv.ParseInt(at, 10, 64)
	if err != nil {
		return errors.New("the signature has no time")
	}
	// The time is signed too: who has seen an old delivery cannot give it another one.
	want, valid := s.mac(at, body), false
	for _, mac := range macs {
		valid = hmac.Equal(mac, want) || valid // takes equally long for all that are wrong
	}
	if !valid {
		return errors.New("the signature does not match")
	}
	if age := s.now().Sub(time.Unix(seconds, 0)).Abs(); age > s.tolerance {
		return fmt.Errorf("the signature is off by %v, at most %v are accepted", age, s.tolerance)
	}
	return nil
}

func (s signature) mac(at string, body []byte) []byte {
	h := hmac.New(sha256.New, s.secret)
	io.WriteString(h, at)
	h.Write([]byte("."))
	h.Write(body)
	return h.Sum(nil)
}

// sign returns the header of a delivery that is sent at this time.
func (s signature) sign(at time.Time, body []byte) string {
	t := strconv.FormatInt(at.Unix(), 10)
	return "t=" + t + ",v1=" + hex.EncodeToString(s.mac(t, body))
}
