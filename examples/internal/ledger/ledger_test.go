package ledger

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestIDIsBookedOnce(t *testing.T) {
	l := open(t, filepath.Join(t.TempDir(), "charges.jsonl"))
	first, err := l.Charge("a", "alice", 5)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := l.Charge("a", "alice", 5); err != nil || again != first {
		t.Errorf("got %+v, %v; want %+v", again, err, first)
	}
	if second, err := l.Charge("b", "alice", 5); err != nil || second.Number != 2 {
		t.Errorf("got %+v, %v; want number 2", second, err)
	}
}

// A crash may cut off the last entry: it never happened, and the next one takes its place.
func TestLedgerIsReadBackWithoutWhatWasCutOff(t *testing.T) {
	path := filepath.Join(t.TempDir(), "charges.jsonl")
	l := open(t, path)
	l.Charge("a", "alice", 5)
	l.Charge("b", "bob", 7)
	want := l.Charges()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(text, `{"number":3,"id":"c","customer":"carol"`...), 0o600); err != nil {
		t.Fatal(err)
	}
	l = open(t, path)
	if got := l.Charges(); !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	l.Charge("d", "dave", 9)
	want = l.Charges()
	if got := open(t, path).Charges(); len(got) != 3 || !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func open(t *testing.T, path string) *Ledger {
	t.Helper()
	l, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}
