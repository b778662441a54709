package verify

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestTemplatesDifferByOperationOnly(t *testing.T) {
	v := variant{7, "u-u-i-d"}
	if got := v.render(`{"a": {{n}}, "b": "{{uuid}}", "c": "{{"}`); got != `{"a": 7, "b": "u-u-i-d", "c": "{{"}` {
		t.Errorf("got %s", got)
	}
	for template, ok := range map[string]bool{"{{n}} {{uuid}}": true, "{{": true, "{{ x }}": true, "{{m}}": false, "{{n}} {{uid}}": false} {
		if err := checkTemplate(template); (err == nil) != ok {
			t.Errorf("%s: got %v", template, err)
		}
	}
}

func TestVaryChangesWhatThePointerRefersTo(t *testing.T) {
	const body = `{"a":[{"b/c":"x"}],"n":5}`
	for pointer, want := range map[string]string{
		"/a/0/b~1c": `{"a":[{"b/c":"x-7"}],"n":5}`,
		"/n":        `{"a":[{"b/c":"x"}],"n":13}`,
		"/a":        "", "/a/1": "", "/m": "", "n": "", "": "",
	} {
		got, err := varied(body, pointer, 7)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: got %s, %v", pointer, got, err)
		}
	}
	if _, err := varied("no JSON", "/n", 7); err == nil {
		t.Error("no error")
	}
}

func TestConfigurationSaysAllThatIsWrong(t *testing.T) {
	_, err := New(Config{Target: "ftp://x", Path: "charges", Body: "{{m}}", Vary: "/x", Method: "A B", Concurrency: 1, MaxRequests: -1,
		EffectsPointer: "/n", EffectsPath: ""})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"http or https", "start with a slash", "{{m}}", "vary", "word of HTTP", "concurrency", "limits", "effects pointer"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error lacks %q:\n%v", want, err)
		}
	}
	for _, target := range []string{"https://user:secret@x", "https://x?a=b", "x", "http://"} {
		if _, err := New(Config{Target: target}); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: got %v", target, err)
		}
	}
	if _, err := New(Config{Target: "http://x", Expiry: time.Hour}); err == nil {
		t.Error("an expiry longer than the timeout is accepted")
	}
}

func TestLoopback(t *testing.T) {
	for target, want := range map[string]bool{"http://localhost:80": true, "http://127.1.2.3/x": true, "http://[::1]:8": true,
		"http://127.0.0.1.example": false, "https://api.example": false, "http://10.0.0.1": false} {
		if got := (Config{Target: target}).Loopback(); got != want {
			t.Errorf("%s: got %v", target, got)
		}
	}
}

func TestMarksOfReplays(t *testing.T) {
	for field, want := range map[string]bool{
		"Idempotency-Replayed: true": true, "Idempotent-Replayed: true": true, "X-Replay: 1": true, "Idempotency-Status: hit": true,
		"Idempotency-Replayed: false": false, "Idempotency-Key: abc": false, "Date: today": false,
		"Access-Control-Expose-Headers: Idempotency-Replayed": false,
	} {
		name, value, _ := strings.Cut(field, ": ")
		if got := marked(answer{header: http.Header{name: {value}}}) != ""; got != want {
			t.Errorf("%s: got %v", field, got)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	soon := time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)
	for value, ok := range map[string]bool{"3": true, "0": true, soon: true, "1.5": false, "-1": false, "soon": false} {
		got := retryAfter(answer{header: http.Header{"Retry-After": {value}}})
		if (got >= 0) != ok {
			t.Errorf("%s: got %v", value, got)
		}
	}
}

func TestProblemsAreRead(t *testing.T) {
	of := func(media, body string) answer {
		return answer{status: 400, header: http.Header{"Content-Type": {media}}, body: []byte(body)}
	}
	const good = `{"type": "https://x/y", "title": "t", "status": 400}`
	if kind, err := problemType(of("application/problem+json; charset=utf-8", good)); kind != "https://x/y" || err != nil {
		t.Errorf("got %q, %v", kind, err)
	}
	for _, a := range []answer{of("application/json", good), of("application/problem+json", "no"),
		of("application/problem+json", `{"title": "t", "status": 422}`), of("application/problem+json", `{"type": "x"}`)} {
		if _, err := problemType(a); err == nil {
			t.Errorf("%s %s: no error", a.header, a.body)
		}
	}
	for link, want := range map[string]bool{`<https://x>; rel="describedby"; type="text/html"`: true, `<https://x>; rel=describedby`: true,
		`<a>; rel="next", <b>; rel="DescribedBy"`: true, `<describedby>; rel="next"`: false, ``: false} {
		if got := describedBy(answer{header: http.Header{"Link": {link}}}); got != want {
			t.Errorf("%s: got %v", link, got)
		}
	}
}

// A line can be pasted into a shell, and shows no credentials.
func TestRequestsAreShownAsCommands(t *testing.T) {
	cfg := Config{Target: "http://x", Header: http.Header{"Authorization": {"Bearer own"}, "X-Api-Key": {"own"}, "Accept": {"it's"}},
		OtherHeader: http.Header{"Authorization": {"Bearer other"}}}.withDefaults()
	c := newClient(&cfg)
	r := request{method: "POST", url: "http://x/a?b=c", body: "{'}", keys: []string{`"k"`}, other: true}
	ok, conflict := answer{status: 201}, answer{status: 409}
	got := c.curls([]exchange{{r, ok, false}, {r, conflict, false}, {r, conflict, false}, {r, answer{}, true}})
	want := `curl -i -X POST -H 'Accept: it'\''s' -H "Authorization: $OTHER_AUTHORIZATION" -H 'Idempotency-Key: "k"' ` +
		`-H "X-Api-Key: $X_API_KEY" --data-raw '{'\''}' 'http://x/a?b=c'  # 201, 409 ×2, hung up`
	if len(got) != 1 || got[0] != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestCountsAreRead(t *testing.T) {
	for _, tt := range []struct {
		pointer, body string
		want          int
		ok            bool
	}{
		{"", "3", 3, true}, {"/a/0", `{"a":[4]}`, 4, true}, {"/a", `{"a":[4,5]}`, 2, true},
		{"/a", `{"a":"4"}`, 0, false}, {"/b", `{"a":4}`, 0, false}, {"", "4.5", 0, false}, {"", "<html>", 0, false},
	} {
		p := &probe{cfg: &Config{EffectsPointer: tt.pointer}}
		got, err := p.readCount(answer{status: 200, body: []byte(tt.body)})
		if got != tt.want || (err == nil) != tt.ok {
			t.Errorf("%s of %s: got %d, %v", tt.pointer, tt.body, got, err)
		}
	}
	if _, err := (&probe{cfg: &Config{}}).readCount(answer{status: 500, body: []byte("3")}); err == nil {
		t.Error("a count is read from an error")
	}
}

// Whatever a service answers, a finding stays on its line.
func TestReportsAreSafeToPrint(t *testing.T) {
	r := &Report{Findings: []Finding{{Name: "a", Result: Fail, Why: "x\ny\x1b[2J", Requests: []string{"curl"}}, {Name: "b", Result: Pass, Requests: []string{"hidden"}}}}
	var b strings.Builder
	if err := r.Print(&b, false); err != nil {
		t.Fatal(err)
	}
	if got := b.String(); strings.Contains(got, "\x1b") || strings.Contains(got, "x\n") || !strings.Contains(got, "curl") || strings.Contains(got, "hidden") {
		t.Errorf("got %q", got)
	}
	b.Reset()
	if r.Print(&b, true); !strings.Contains(b.String(), "hidden") {
		t.Errorf("got %q", b.String())
	}
	if text, err := json.Marshal(r); err != nil || !strings.Contains(string(text), `"result":"fail"`) {
		t.Errorf("got %s, %v", text, err)
	}
}
