package transcript_test

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/oncehq/once/internal/transcript"
)

// mutants returns the text with one line of a response changed, left out and doubled, for each of
// these lines.
func mutants(text string) (all []string) {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if !strings.HasPrefix(line, "<") {
			continue
		}
		changed := line + "x"
		if line == "<" {
			changed = "< x"
		}
		for _, instead := range [][]string{{changed}, {}, {line, line}} {
			all = append(all, strings.Join(slices.Replace(slices.Clone(lines), i, i+1, instead...), "\n"))
		}
	}
	return all
}

// play plays the text at the middleware alone, or reports why not.
func play(t *testing.T, name, text string, unordered bool) error {
	t.Helper()
	tr, err := transcript.Parse(name, text)
	if err != nil {
		t.Fatal(err)
	}
	d := doors[0].open(t, tr.Settings, newService())
	d.Unordered = unordered
	return tr.Play(t.Context(), d)
}

func TestTranscriptWithAWrongLineFails(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name      string
		unordered bool
	}{{"in-flight.txt", false}, {"fields.txt", false}, {"fields.txt", true}} {
		text, err := files.ReadFile("testdata/" + c.name)
		if err != nil {
			t.Fatal(err)
		}
		for i, mutant := range mutants(string(text)) {
			t.Run(fmt.Sprintf("%s/%t/%d", c.name, c.unordered, i), func(t *testing.T) {
				if err := play(t, c.name, mutant, c.unordered); err == nil {
					t.Errorf("nobody has noticed:\n%s", mutant)
				}
			})
		}
	}
}

func TestEveryTranscriptCanFail(t *testing.T) {
	t.Parallel()
	for _, tr := range transcripts(t) {
		t.Run(tr.Name, func(t *testing.T) {
			t.Parallel()
			text, err := files.ReadFile("testdata/" + tr.Name)
			if err != nil {
				t.Fatal(err)
			}
			all := mutants(string(text))
			if err := play(t, tr.Name, all[len(all)-3], false); err == nil {
				t.Error("a wrong end of the last response is not noticed")
			}
		})
	}
}

// answering returns a door that answers every request with these bytes.
func answering(t *testing.T, wire string) transcript.Door {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conn.Read(make([]byte, 4096))
			conn.Write([]byte(wire))
			conn.Close()
		}
	}()
	return transcript.Door{Addr: l.Addr().String()}
}

func TestOnlyWhatIsSaidIsNotCompared(t *testing.T) {
	t.Parallel()
	const written = "> GET /\n\n< HTTP/1.1 200 OK\n< X-A: 1\n< X-B: 2\n< X-B: 3\n< Date: {date}\n<\n< urn:uuid:{uuid} \\\\ \\x00\\r\n< {70*x}\n"
	const id, xs = "urn:uuid:8e03978e-40d5-43e8-bc93-6894a57f9324", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
	const head = "HTTP/1.1 200 OK\r\nX-A: 1\r\nX-B: 2\r\nX-B: 3\r\nDate: Sat, 28 Nov 2026 10:59:53 GMT\r\n\r\n"
	const body = id + " \\ \x00\r\n" + xs
	tr, err := transcript.Parse("written", written)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, wire         string
		ordered, unordered bool // is right
	}{
		{"as it is", head + body, true, true},
		{"fields in another order", strings.Replace(head, "X-A: 1\r\nX-B: 2\r\n", "X-B: 2\r\nX-A: 1\r\n", 1) + body, false, true},
		{"fields of one name in another order", strings.Replace(head, "X-B: 2\r\nX-B: 3", "X-B: 3\r\nX-B: 2", 1) + body, false, false},
		{"no date", strings.Replace(head, "28 Nov", "31 Nov", 1) + body, false, false},
		{"no UUID", head + strings.Replace(body, "-43e8", "-13e8", 1), false, false},
		{"one byte more", head + body + "\n", false, false},
		{"one byte less", head + body[:len(body)-1], false, false},
		{"line ends", strings.ReplaceAll(head, "\r\n", "\n") + body, false, false},
		{"space", strings.Replace(head, "X-A: 1", "X-A: 1 ", 1) + body, false, false},
		{"case", strings.Replace(head, "X-A", "x-a", 1) + body, false, false},
		{"nothing", "", false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := answering(t, c.wire)
			if err := tr.Play(t.Context(), d); (err == nil) != c.ordered {
				t.Errorf("ordered: got %v", err)
			}
			d.Unordered = true
			if err := tr.Play(t.Context(), d); (err == nil) != c.unordered {
				t.Errorf("unordered: got %v", err)
			}
			if c.ordered {
				if text, err := tr.Record(t.Context(), d); err != nil || text != written {
					t.Errorf("recorded %q, %v", text, err)
				}
			}
		})
	}
}

func TestParseRefusesWhatCannotBePlayed(t *testing.T) {
	t.Parallel()
	const ask, answer = "> GET /\n\n", "< HTTP/1.1 200 OK\n\n"
	for _, text := range []string{
		"", "# nothing\n", "? GET /\n", " > GET /\n", "with magic\n\n" + ask + answer, "with required 1\n\n" + ask + answer,
		"with keep\n\n" + ask + answer, "except gin\n\n" + ask + answer, ask, answer, ask + ask + answer, ask + answer + answer,
		"! running\n\n" + ask + answer, ask + "! running\n", ask + "! running\n\n" + answer, ask + "! running\n\n! finish\n",
		"! finish\n\n" + answer, "! hang up\n\n" + ask + answer, ask + "! running\n\n! hang up\n\n! hang up\n\n! finish\n\n" + ask + answer,
		ask + "! running\n\n! hang up\n\n! finish\n\n" + answer, ask + "! running\n\n" + ask + "! running\n\n! finish\n\n" + answer,
		"! sleep well\n\n" + ask + answer, "! jump\n\n" + ask + answer,
	} {
		if _, err := transcript.Parse("wrong", text); err == nil {
			t.Errorf("taken: %q", text)
		} else if !strings.HasPrefix(err.Error(), "wrong:") {
			t.Errorf("%v does not say where", err)
		}
	}
	for _, text := range []string{
		ask + answer, "# a\n# b\nwith required\nwith keep all\nexcept gin: no\n\n" + ask + answer,
		ask + "! running\n\n" + ask + answer + "! finish\n\n" + answer, ask + "! running\n\n! hang up\n\n! finish\n\n" + ask + answer,
		"! sleep 1ms\n\n" + ask + answer,
	} {
		if _, err := transcript.Parse("right", text); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}
