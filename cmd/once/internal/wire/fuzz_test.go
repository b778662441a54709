package wire_test

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"testing"

	"github.com/oncehq/once/cmd/once/internal/wire"
)

// FuzzScanner checks that what is found does not depend on how the bytes arrive, and that a
// stream which passes as whole requests is read by net/http to exactly its end.
func FuzzScanner(f *testing.F) {
	for _, tt := range requests {
		f.Add([]byte(tt.raw), uint16(len(tt.raw)/2))
	}
	f.Fuzz(func(t *testing.T, raw []byte, cut uint16) {
		whole, between := wire.Scan(raw)
		at := min(int(cut), len(raw))
		if split, _ := wire.Scan(raw[:at], raw[at:]); (split < 0) != (whole < 0) {
			t.Fatalf("offence at %d whole, at %d split at %d", whole, split, at)
		}
		if whole >= 0 || !between {
			return
		}
		br := bufio.NewReader(bytes.NewReader(raw))
		for {
			r, err := http.ReadRequest(br)
			if err == io.EOF {
				return
			}
			if err != nil {
				return // net/http refuses more than we do
			}
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				if err == io.ErrUnexpectedEOF {
					t.Fatalf("net/http expects more than %q", raw)
				}
				return
			}
		}
	})
}
