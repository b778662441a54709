package smoke

import (
	"io"
	"testing"
)

func TestCurlCommandsAreUnderstood(t *testing.T) {
	t.Parallel()
	r, err := request(`curl -i -u alice:a1 -H 'Idempotency-Key: "order 42"' -d '{"amount":1250}' http://127.0.0.1:1/charges`)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(r.Body)
	user, password, _ := r.BasicAuth()
	if r.Method != "POST" || r.URL.String() != "http://127.0.0.1:1/charges" || string(body) != `{"amount":1250}` ||
		r.Header.Get("Idempotency-Key") != `"order 42"` || user != "alice" || password != "a1" ||
		r.Header.Get("Content-Type") != "application/x-www-form-urlencoded" {
		t.Errorf("got %+v with %s", r, body)
	}
	if r, err := request("curl http://127.0.0.1:1/charges"); err != nil || r.Method != "GET" || r.Body != nil {
		t.Errorf("got %+v, %v", r, err)
	}
}

// A command that would do something else in a shell must not pass for one that works.
func TestOtherCommandsAreRefused(t *testing.T) {
	t.Parallel()
	for _, command := range []string{
		"", "wget http://a/", "curl", "curl -k http://a/", "curl -d", "curl http://a/ http://b/", "curl a/charges",
		`curl -d "{}" http://a/`, "curl -d '{} http://a/", "curl http://a/?b", "curl http://a/ | jq", "curl $URL",
	} {
		if r, err := request(command); err == nil {
			t.Errorf("%s: got %+v", command, r)
		}
	}
}
