package oncedisk

import (
	"testing"

	"github.com/oncehq/once"
)

// The vectors are those of the reference implementation (vectors.h), the third also of the
// paper's appendix A: key 00 01 … 0f, text 00 01 … of the given length.
func TestSipHashVectors(t *testing.T) {
	var secret seed
	for i := range secret {
		secret[i] = byte(i)
	}
	var text [64]byte
	for i := range text {
		text[i] = byte(i)
	}
	for length, want := range map[int]uint64{
		0:  0x726fdb47dd0e0e31,
		1:  0x74f839c593dc67fd,
		8:  0x93f5f5799a932462,
		15: 0xa129ca6149be45e5,
		63: 0x958a324ceb064572,
	} {
		if got := sipHash(secret, text[:length]); got != want {
			t.Errorf("of %d bytes: %#x, want %#x", length, got, want)
		}
	}
}

func BenchmarkHashKey(b *testing.B) {
	k := once.Key{Scope: "tenant-17/POST /payments", ID: "0198c1a5-7d0e-7cc3-9a5b-0f6c1f9a3b21"}
	var secret seed
	for b.Loop() {
		secret.hash(k)
	}
}
