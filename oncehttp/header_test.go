package oncehttp

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestKeySyntax(t *testing.T) {
	for _, c := range []struct {
		name, line   string
		key          string // empty: refused
		strictlyBare bool   // refused if Strict
	}{
		{"quoted", `"8e03978e-40d5-43e8-bc93-6894a57f9324"`, "8e03978e-40d5-43e8-bc93-6894a57f9324", false},
		{"bare is the same key", `8e03978e-40d5-43e8-bc93-6894a57f9324`, "8e03978e-40d5-43e8-bc93-6894a57f9324", true},
		{"bare that would be a token", `ae03978e`, "ae03978e", true},
		{"bare that would be an integer", `12345`, "12345", true},
		{"bare base64", `aGVsbG8+/w==`, "aGVsbG8+/w==", true},
		{"spaces around", `  "k"  `, "k", false},
		{"spaces around bare", ` k `, "k", true},
		{"spaces within", `"a b"`, "a b", false},
		{"escapes", `"a\"b\\c"`, `a"b\c`, false},
		{"parameters are ignored", `"k";tenant=evil;x="y;z";n=-1.5;t=tok/en;b=:aGk=:;?;q=?1`, "", false},
		{"well-formed parameters are ignored", `"k";tenant=evil; x="y;z";n=-1.5;t=tok/en;b=:aGk=:;q=?1;d=@123;s=%"a%c3%a9";flag`, "k", false},
		{"longest", `"` + strings.Repeat("k", 255) + `"`, strings.Repeat("k", 255), false},
		{"too long", `"` + strings.Repeat("k", 256) + `"`, "", false},
		{"too long, bare", strings.Repeat("k", 256), "", false},
		{"empty", ``, "", false},
		{"empty string", `""`, "", false},
		{"only spaces", `   `, "", false},
		{"control byte", "\"a\x01\"", "", false},
		{"control byte, bare", "a\x7f", "", false},
		{"tab", "\"a\t\"", "", false},
		{"not ASCII", `"é"`, "", false},
		{"not ASCII, bare", `é`, "", false},
		{"list", `"a", "b"`, "", false},
		{"bare list", `a,b`, "", false},
		{"bare with parameter", `a;b=1`, "", false},
		{"bare with space", `a b`, "", false},
		{"not closed", `"abc`, "", false},
		{"bad escape", `"a\b"`, "", false},
		{"escape at the end", `"a\`, "", false},
		{"text after the string", `"a"b`, "", false},
		{"quote within bare", `a"b`, "", false},
	} {
		key, err := parseKey(c.line, false)
		if got := err == nil; got != (c.key != "") || got && key != c.key {
			t.Errorf("%s: parseKey(%q) = %q, %v; want %q", c.name, c.line, key, err, c.key)
		}
		key, err = parseKey(c.line, true)
		want := c.key
		if c.strictlyBare {
			want = ""
		}
		if got := err == nil; got != (want != "") || got && key != want {
			t.Errorf("%s: strict parseKey(%q) = %q, %v; want %q", c.name, c.line, key, err, want)
		}
	}
}

func TestKeyIsOnOneFieldLine(t *testing.T) {
	names := []string{"Idempotency-Key", "X-Idempotency-Key"}
	for _, c := range []struct {
		name string
		h    http.Header
		key  string
		err  error
	}{
		{"none", http.Header{}, "", nil},
		{"first name", http.Header{"Idempotency-Key": {"a"}}, "a", nil},
		{"second name", http.Header{"X-Idempotency-Key": {"a"}}, "a", nil},
		{"two lines", http.Header{"Idempotency-Key": {"a", "a"}}, "", errKeyLines},
		{"both names", http.Header{"Idempotency-Key": {"a"}, "X-Idempotency-Key": {"a"}}, "", errKeyLines},
		{"present but empty", http.Header{"Idempotency-Key": {""}}, "", errKeyEmpty},
	} {
		if key, err := headerKey(c.h, names, false); key != c.key || err != c.err {
			t.Errorf("%s: got %q, %v; want %q, %v", c.name, key, err, c.key, c.err)
		}
	}
}

func TestParsingAKeyDoesNotAllocate(t *testing.T) {
	h := http.Header{"Idempotency-Key": {`"8e03978e-40d5-43e8-bc93-6894a57f9324"`}}
	names := []string{"Idempotency-Key"}
	if n := testing.AllocsPerRun(100, func() { headerKey(h, names, false) }); n != 0 {
		t.Errorf("parsing a key takes %v allocations, want none", n)
	}
}

// The vectors are those of github.com/httpwg/structured-field-tests.
func TestStructuredFieldVectors(t *testing.T) {
	dir := filepath.Join("..", "..", "shared", "vectors", "structured-fields")
	if _, err := os.Stat(dir); err != nil {
		t.Skip("no test vectors beside the repository:", err)
	}
	run := 0
	for _, file := range []string{"string.json", "string-generated.json", "item.json"} {
		text, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		var cases []struct {
			Name     string
			Raw      []string
			Type     string `json:"header_type"`
			MustFail bool   `json:"must_fail"`
			CanFail  bool   `json:"can_fail"`
			Expected []any
		}
		if err := json.Unmarshal(text, &cases); err != nil {
			t.Fatal(file, err)
		}
		for _, c := range cases {
			if c.Type != "item" {
				continue
			}
			run++
			want, isString := "", false
			if len(c.Expected) > 0 {
				want, isString = c.Expected[0].(string)
			}
			got, ok := parseSFString(strings.Join(c.Raw, ", "))
			switch {
			case ok && (c.MustFail || !isString):
				t.Errorf("%s: %s: %q is accepted as %q", file, c.Name, c.Raw, got)
			case !ok && isString && !c.MustFail && !c.CanFail:
				t.Errorf("%s: %s: %q is refused", file, c.Name, c.Raw)
			case ok && got != want:
				t.Errorf("%s: %s: %q is %q, want %q", file, c.Name, c.Raw, got, want)
			}
		}
	}
	if run < 275 {
		t.Errorf("only %d cases were found, want 275", run)
	}
}

func FuzzParseKey(f *testing.F) {
	for _, s := range []string{`"k"`, `k`, `"a\"b"`, `"a";b=1`, `"a", "b"`, "\"\x00\"", `"`, `a;b`, `"k";x=%"%c3`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		key, err := parseKey(line, false)
		if err != nil {
			return
		}
		if key == "" || len(key) > maxKey {
			t.Fatalf("%q gives a key of %d bytes", line, len(key))
		}
		for _, c := range []byte(key) {
			if c < ' ' || c > '~' {
				t.Fatalf("%q gives a key with the byte %#x", line, c)
			}
		}
		quoted := `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(key) + `"`
		if again, err := parseKey(quoted, true); err != nil || again != key {
			t.Fatalf("%q gives %q, which quoted gives %q, %v", line, key, again, err)
		}
	})
}
