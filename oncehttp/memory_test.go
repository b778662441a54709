package oncehttp_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/oncehq/once/oncehttp"
)

// What a handler leaves behind must not see the memory of later requests, nor write into it: the
// body by all of its readers, and the response.
func TestGoroutinesLeftBehindSeeNoLaterRequest(t *testing.T) {
	t.Parallel()
	const secret = "the secret of another request"
	var left sync.WaitGroup
	stop := make(chan struct{})
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Leave") == "" {
			io.Copy(io.Discard, r.Body)
			io.WriteString(w, secret)
			return
		}
		again, err := r.GetBody()
		if err != nil {
			t.Error(err)
		}
		getBody := r.GetBody
		for _, body := range []io.Reader{r.Body, again} {
			left.Go(func() {
				for p := make([]byte, 1); ; {
					n, err := body.Read(p)
					if n > 0 && p[0] != 'a' {
						t.Errorf("a body that is over reads %q", p)
						return
					}
					if err != nil && !errors.Is(err, http.ErrBodyReadAfterClose) && err != io.EOF {
						t.Error(err)
						return
					}
					select {
					case <-stop:
						return
					default:
					}
				}
			})
		}
		left.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				w.Write([]byte("late"))
				if late, err := getBody(); err == nil {
					if text, _ := io.ReadAll(late); strings.Trim(string(text), "a") != "" {
						t.Errorf("a body that is over is opened as %q", text)
						return
					}
				}
			}
		})
	})
	m := newMiddleware(t, oncehttp.Config{})
	guarded := m.Wrap(h)
	do(guarded, call{key: "left", body: strings.Repeat("a", 100), header: http.Header{"X-Leave": {"yes"}}})
	for i := range 200 {
		key := "k" + strings.Repeat("i", i%50) + string(rune('a'+i%26))
		a := do(guarded, call{key: key, target: "/things?n=" + key, body: secret + key})
		if a.StatusCode == 200 && a.body != secret {
			t.Fatalf("a later request is answered %q", a.body)
		}
	}
	close(stop)
	left.Wait()
}
