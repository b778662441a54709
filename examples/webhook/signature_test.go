package main

import (
	"strings"
	"testing"
	"time"
)

func TestOnlyValidSignaturesPass(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_700_000_000, 0)
	s := signature{secret: []byte("whsec_test"), tolerance: 5 * time.Minute, now: func() time.Time { return now }}
	body := []byte(`{"id":"evt_1"}`)
	valid := s.sign(now, body)
	mac := strings.TrimPrefix(valid, "t=1700000000,")
	for name, test := range map[string]struct {
		header []string
		body   string
		valid  bool
	}{
		// By openssl: printf '1700000000.{"id":"evt_1"}' | openssl dgst -sha256 -hmac whsec_test
		"known":                {[]string{"t=1700000000,v1=c89214b5b5da833daed6f0b8c5bb6bd58cea9022bd80ccc78230f3942d632925"}, "", true},
		"own":                  {[]string{valid}, "", true},
		"at the tolerance":     {[]string{s.sign(now.Add(-5*time.Minute), body)}, "", true},
		"stale":                {[]string{s.sign(now.Add(-5*time.Minute-time.Second), body)}, "", false},
		"from the future":      {[]string{s.sign(now.Add(5*time.Minute+time.Second), body)}, "", false},
		"time renewed":         {[]string{"t=1700000001," + mac}, "", false},
		"two secrets":          {[]string{"t=1700000000,v1=" + strings.Repeat("ab", 32) + "," + mac}, "", true},
		"unknown scheme too":   {[]string{valid + ",v0=" + strings.Repeat("ab", 32)}, "", true},
		"unknown scheme only":  {[]string{strings.Replace(valid, "v1=", "v0=", 1)}, "", false},
		"other secret":         {[]string{signature{secret: []byte("x")}.sign(now, body)}, "", false},
		"other body":           {[]string{valid}, `{"id":"evt_2"}`, false},
		"truncated":            {[]string{valid[:len(valid)-2]}, "", false},
		"no MAC":               {[]string{"t=1700000000"}, "", false},
		"empty MAC":            {[]string{"t=1700000000,v1="}, "", false},
		"no time":              {[]string{mac}, "", false},
		"two times":            {[]string{"t=1," + valid}, "", false},
		"no header":            {nil, "", false},
		"two headers":          {[]string{valid, valid}, "", false},
		"not hex":              {[]string{"t=1700000000,v1=zz"}, "", false},
		"time beyond all time": {[]string{s.sign(time.Unix(1<<62, 0), body)}, "", false},
	} {
		text := body
		if test.body != "" {
			text = []byte(test.body)
		}
		if err := s.check(test.header, text); (err == nil) != test.valid {
			t.Errorf("%s: %v", name, err)
		}
	}
}
