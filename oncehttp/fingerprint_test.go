package oncehttp

import (
	"bytes"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/oncehq/once"
)

func fingerprintOf(t *testing.T, method, target, contentType, body string, header ...string) once.Fingerprint {
	t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return fingerprint(new(digester), r, []byte(body), nil)
}

func TestFingerprintTellsRequestsApart(t *testing.T) {
	const json = "application/json"
	seen := map[once.Fingerprint]string{}
	for name, fp := range map[string]once.Fingerprint{
		"base":             fingerprintOf(t, "POST", "/a?x=1", json, `{"a":1}`),
		"method":           fingerprintOf(t, "PATCH", "/a?x=1", json, `{"a":1}`),
		"path":             fingerprintOf(t, "POST", "/b?x=1", json, `{"a":1}`),
		"escaped path":     fingerprintOf(t, "POST", "/%2Fa?x=1", json, `{"a":1}`),
		"query":            fingerprintOf(t, "POST", "/a?x=2", json, `{"a":1}`),
		"query moved":      fingerprintOf(t, "POST", "/a%3Fx=1", json, `{"a":1}`),
		"no query":         fingerprintOf(t, "POST", "/a", json, `{"a":1}`),
		"order of values":  fingerprintOf(t, "POST", "/a?x=1&x=2", json, `{"a":1}`),
		"other order":      fingerprintOf(t, "POST", "/a?x=2&x=1", json, `{"a":1}`),
		"content type":     fingerprintOf(t, "POST", "/a?x=1", "application/xml", `{"a":1}`),
		"no content type":  fingerprintOf(t, "POST", "/a?x=1", "", `{"a":1}`),
		"charset":          fingerprintOf(t, "POST", "/a?x=1", json+"; charset=utf-16", `{"a":1}`),
		"body":             fingerprintOf(t, "POST", "/a?x=1", json, `{"a":2}`),
		"literal":          fingerprintOf(t, "POST", "/a?x=1", json, `{"a":1.0}`),
		"no body":          fingerprintOf(t, "POST", "/a?x=1", json, ``),
		"empty object":     fingerprintOf(t, "POST", "/a?x=1", json, `{}`),
		"duplicate":        fingerprintOf(t, "POST", "/a?x=1", json, `{"a":1,"a":2}`),
		"other duplicate":  fingerprintOf(t, "POST", "/a?x=1", json, `{"a":2,"a":1}`),
		"encoding":         fingerprintOf(t, "POST", "/a?x=1", json, `{"a":1}`, "Content-Encoding", "gzip"),
		"other encoding":   fingerprintOf(t, "POST", "/a?x=1", json, `{"a":1}`, "Content-Encoding", "br"),
		"form":             fingerprintOf(t, "POST", "/a?x=1", "application/x-www-form-urlencoded", `a=1&b=2`),
		"form, other":      fingerprintOf(t, "POST", "/a?x=1", "application/x-www-form-urlencoded", `b=2&a=1`),
		"broken multipart": fingerprintOf(t, "POST", "/a?x=1", "multipart/form-data; boundary=b", `a`),
		"broken, other":    fingerprintOf(t, "POST", "/a?x=1", "multipart/form-data; boundary=b", `b`),
		"no boundary":      fingerprintOf(t, "POST", "/a?x=1", "multipart/form-data", `b`),
	} {
		if other, ok := seen[fp]; ok {
			t.Errorf("%q and %q have the same fingerprint", name, other)
		}
		seen[fp] = name
	}
}

func TestFingerprintIsTheSameForAnotherTry(t *testing.T) {
	const json = "application/json"
	for _, c := range []struct {
		name string
		a, b once.Fingerprint
	}{
		{"order of fields and white space",
			fingerprintOf(t, "POST", "/a", json, `{"a":1,"b":[2]}`),
			fingerprintOf(t, "POST", "/a", json, "{ \"b\": [2],\n \"a\": 1 }")},
		{"structured suffix",
			fingerprintOf(t, "POST", "/a", "application/cloudevents+json; charset=utf-8", `{"a":1,"b":[2]}`),
			fingerprintOf(t, "POST", "/a", "application/cloudevents+json; charset=utf-8", `{"b":[2],"a":1}`)},
		{"order of the query",
			fingerprintOf(t, "POST", "/a?x=1&y=2", json, `1`),
			fingerprintOf(t, "POST", "/a?y=2&x=1", json, `1`)},
		{"other headers do not count",
			fingerprintOf(t, "POST", "/a", json, `1`, "Authorization", "Bearer 1", "Traceparent", "1"),
			fingerprintOf(t, "POST", "/a", json, `1`, "Authorization", "Bearer 2", "Traceparent", "2")},
	} {
		if c.a != c.b {
			t.Errorf("%s: fingerprints differ", c.name)
		}
	}
}

// A JSON content type over a compressed body must not make the body pass for JSON.
func TestFingerprintOfEncodedBodyIsRaw(t *testing.T) {
	a := fingerprintOf(t, "POST", "/", "application/json", `{"a":1,"b":2}`, "Content-Encoding", "x")
	b := fingerprintOf(t, "POST", "/", "application/json", `{"b":2,"a":1}`, "Content-Encoding", "x")
	if a == b {
		t.Error("an encoded body was canonicalised")
	}
}

func form(t *testing.T, boundary string, fields ...string) once.Fingerprint {
	t.Helper()
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	if err := w.SetBoundary(boundary); err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(fields); i += 2 {
		part, err := w.CreateFormFile(fields[i], fields[i]+".txt")
		if err != nil {
			t.Fatal(err)
		}
		part.Write([]byte(fields[i+1]))
	}
	w.Close()
	return fingerprintOf(t, "POST", "/", w.FormDataContentType(), body.String())
}

func TestFingerprintOfMultipartIgnoresTheBoundary(t *testing.T) {
	base := form(t, "one", "a", "1", "b", "2")
	if form(t, "two", "a", "1", "b", "2") != base {
		t.Error("another boundary gives another fingerprint")
	}
	for name, other := range map[string]once.Fingerprint{
		"content":      form(t, "one", "a", "1", "b", "3"),
		"name":         form(t, "one", "a", "1", "c", "2"),
		"order":        form(t, "one", "b", "2", "a", "1"),
		"fewer":        form(t, "one", "a", "1"),
		"none":         form(t, "one"),
		"byte carried": form(t, "one", "a", "12", "b", ""),
	} {
		if other == base {
			t.Errorf("%s: the fingerprint is the same", name)
		}
	}
}

func TestFromJSON(t *testing.T) {
	r := httptest.NewRequest("POST", "/", nil)
	for _, c := range []struct {
		pointer, body, key string
		fails              bool
	}{
		{"/id", `{"id":"evt_1"}`, "evt_1", false},
		{"id", `{"id":"evt_1"}`, "evt_1", false},
		{"/data/object/id", `{"data":{"object":{"id":17}}}`, "17", false},
		{"/events/1/id", `{"events":[{"id":"a"},{"id":"b\u0021"}]}`, "b!", false},
		{"/id", `{"Id":"evt_1"}`, "", false},
		{"/id", `{}`, "", false},
		{"/id/x", `{"id":"evt_1"}`, "", false},
		{"/0", `[]`, "", false},
		{"", `"evt_1"`, "evt_1", false},
		{"/id", `{"id":null}`, "", true},
		{"/id", `{"id":{}}`, "", true},
		{"/id", `{"id":""}`, "", true},
		{"/id", `{"id":"` + strings.Repeat("k", 256) + `"}`, "", true},
		{"/id", `not json`, "", true},
		{"/id", ``, "", true},
	} {
		key, err := FromJSON(c.pointer)(r, []byte(c.body))
		if key != c.key && err == nil || (err != nil) != c.fails {
			t.Errorf("FromJSON(%q) of %.40s = %q, %v; want %q, fails: %t", c.pointer, c.body, key, err, c.key, c.fails)
		}
	}
}

func TestFromHeader(t *testing.T) {
	from := FromHeader("x-github-delivery")
	for _, c := range []struct {
		values []string
		key    string
		fails  bool
	}{
		{nil, "", false}, {[]string{`a "b`}, `a "b`, false}, {[]string{""}, "", true}, {[]string{"a", "b"}, "", true},
	} {
		r := &http.Request{Header: http.Header{"X-Github-Delivery": c.values}}
		if key, err := from(r, nil); key != c.key && err == nil || (err != nil) != c.fails {
			t.Errorf("%q gives %q, %v", c.values, key, err)
		}
	}
}

func FuzzFingerprint(f *testing.F) {
	f.Add("application/json", `{"a":1}`, "application/json", `{ "a":1 }`)
	f.Add("application/json", `{"a":1,"a":2}`, "application/json", `{"a":2,"a":1}`)
	f.Add("multipart/form-data; boundary=b", "--b\r\n\r\nx\r\n--b--", "multipart/form-data; boundary=c", "--c\r\n\r\nx\r\n--c--")
	f.Add("text/plain", "a", "text/plain", "a ")
	f.Fuzz(func(t *testing.T, typeA, a, typeB, b string) {
		ra := &http.Request{Method: "POST", URL: httptest.NewRequest("POST", "/", nil).URL, Header: http.Header{"Content-Type": {typeA}}}
		rb := &http.Request{Method: "POST", URL: ra.URL, Header: http.Header{"Content-Type": {typeB}}}
		d := new(digester)
		fa := fingerprint(d, ra, []byte(a), nil)
		fb := fingerprint(d, rb, []byte(b), nil)
		if again := fingerprint(d, ra, []byte(a), nil); again != fa {
			t.Fatal("the fingerprint changes when it is computed again")
		}
		if fa != fb || typeA == typeB && a == b {
			return
		}
		// Equal fingerprints of different requests: only JSON that says the same, or parts.
		if strings.HasPrefix(strings.ToLower(typeA), "multipart/") && strings.HasPrefix(strings.ToLower(typeB), "multipart/") {
			return
		}
		va, errA := decoded([]byte(a))
		vb, errB := decoded([]byte(b))
		if typeA != typeB || !isJSON(mediaType(typeA)) || errA != nil || errB != nil || !equalJSON(va, vb) {
			t.Fatalf("%q %q and %q %q have the same fingerprint", typeA, a, typeB, b)
		}
	})
}
