package smoke

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/oncehq/once/oncehttp"
)

// An Answer is what came back from a curl command.
type Answer struct {
	Status   int
	Replayed bool // it is marked as a replay
	Body     string
	Header   http.Header
}

// Commands returns the first n commands that the program tells its user to try: lines that are
// indented and begin with curl or go run. It waits until they are printed.
func (p *Program) Commands(t testing.TB, n int) []string {
	t.Helper()
	var found []string
	p.until(t, fmt.Sprintf("%d commands to try", n), func(all string) bool {
		found = found[:0]
		for line := range strings.Lines(all) {
			command := strings.TrimSpace(line)
			if indented := line[0] == ' '; indented &&
				(strings.HasPrefix(command, "curl ") || strings.HasPrefix(command, "go run ")) {
				found = append(found, command)
			}
		}
		return len(found) >= n
	})
	return found[:n]
}

// GoRun runs a command like "go run ./examples/webhook send" to its end, with the program that is
// built.
func (p *Program) GoRun(t testing.TB, command string) (string, int) {
	t.Helper()
	return p.GoStart(t, command).Wait(t)
}

// GoStart is GoRun that does not wait for the end.
func (p *Program) GoStart(t testing.TB, command string) *Program {
	t.Helper()
	w, err := words(command)
	if err != nil || len(w) < 3 || w[0] != "go" || w[1] != "run" {
		t.Fatalf("not a command to go run: %s", command)
	}
	return Start(t, p.dir, p.path, w[3:]...)
}

// Curl does what curl would, on the command line of a program's user. It knows the flags that
// the examples need, and fails the test at others.
func Curl(t testing.TB, command string) Answer {
	t.Helper()
	a, err := TryCurl(t, command)
	if err != nil {
		t.Fatalf("%s: %v", command, err)
	}
	return a
}

// TryCurl is Curl where no answer may come, and for goroutines.
func TryCurl(t testing.TB, command string) (Answer, error) {
	r, err := request(command)
	if err != nil {
		return Answer{}, err
	}
	// Every curl has a connection of its own.
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	res, err := client.Do(r.WithContext(t.Context()))
	if err != nil {
		return Answer{}, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return Answer{
		Status:   res.StatusCode,
		Replayed: oncehttp.Replayed(res),
		Body:     string(body),
		Header:   res.Header,
	}, err
}

// request returns what a curl command sends.
func request(command string) (*http.Request, error) {
	w, err := words(command)
	if err != nil {
		return nil, err
	}
	if len(w) == 0 || w[0] != "curl" {
		return nil, fmt.Errorf("it is not curl")
	}
	r := &http.Request{Method: http.MethodGet, Header: http.Header{}}
	for i := 1; i < len(w); i++ {
		flag, value := w[i], ""
		if slices.Contains([]string{"-H", "-d", "-u"}, flag) && i+1 < len(w) {
			i++
			value = w[i]
		}
		switch flag {
		case "-i", "-s":
		case "-H":
			name, field, _ := strings.Cut(value, ":")
			r.Header.Set(name, strings.TrimSpace(field))
		case "-d":
			r.Method = http.MethodPost
			r.ContentLength = int64(len(value))
			r.Body = io.NopCloser(strings.NewReader(value))
			if r.Header.Get("Content-Type") == "" {
				r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			}
		case "-u":
			user, password, _ := strings.Cut(value, ":")
			r.SetBasicAuth(user, password)
		default:
			if r.URL != nil || strings.HasPrefix(flag, "-") {
				return nil, fmt.Errorf("flag %s is not known", flag)
			}
			if r.URL, err = url.Parse(flag); err != nil {
				return nil, err
			}
			if r.URL.Scheme == "" {
				return nil, fmt.Errorf("the URL has no scheme")
			}
		}
	}
	if r.URL == nil {
		return nil, fmt.Errorf("there is no URL")
	}
	return r, nil
}

// words splits a command as a shell does, if it has no more than words and single quotes.
func words(command string) ([]string, error) {
	var all []string
	var word strings.Builder
	inWord, quoted := false, false
	for _, c := range command {
		switch {
		case c == '\'':
			quoted, inWord = !quoted, true
		case quoted:
			word.WriteRune(c)
		case c == ' ':
			if inWord {
				all = append(all, word.String())
			}
			word.Reset()
			inWord = false
		case strings.ContainsRune("\"\\$`*?[]{}()<>|&;#~!\n", c):
			return nil, fmt.Errorf("a shell would treat %q in its own way", c)
		default:
			word.WriteRune(c)
			inWord = true
		}
	}
	if quoted {
		return nil, fmt.Errorf("a quote is not closed")
	}
	if inWord {
		all = append(all, word.String())
	}
	return all, nil
}
