package oncehttp

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

func TestCanonicalJSON(t *testing.T) {
	for _, c := range []struct{ name, doc, want string }{
		{"white space", " { \"a\" :\t1 ,\r\n\"b\" : [ 1 , 2 ] } ", `{"a":1,"b":[1,2]}`},
		{"order of fields", `{"b":1,"a":{"d":1,"c":2}}`, `{"a":{"c":2,"d":1},"b":1}`},
		{"order below an array", `[{"b":1,"a":2},{"d":1,"c":2}]`, `[{"a":2,"b":1},{"c":2,"d":1}]`},
		{"names where one is the start of the other", `{"ab":1,"a":2}`, `{"a":2,"ab":1}`},
		{"order of elements stays", `[2,1]`, `[2,1]`},
		{"numbers stay as written", `[1,1.0,1e0,-0,100000000000000000001]`, `[1,1.0,1e0,-0,100000000000000000001]`},
		{"strings stay as written", `["é","\u00e9","\/","/"]`, `["é","\u00e9","\/","/"]`},
		{"spaces within strings stay", `{"a":" b  c "}`, `{"a":" b  c "}`},
		{"empty", `[ {} , [ ] , "" ]`, `[{},[],""]`},
		{"literals", `[true,false,null]`, `[true,false,null]`},
		{"scalar", ` 1 `, `1`},
	} {
		got, ok := new(canonicalizer).canonical([]byte("x"), []byte(c.doc), nil)
		if !ok || string(got) != "x"+c.want {
			t.Errorf("%s: %s becomes %s, %t; want %s", c.name, c.doc, got, ok, c.want)
		}
	}
}

func TestJSONWhoseOrderMayMatterIsNotCanonical(t *testing.T) {
	for _, doc := range []string{
		`{"a":1,"a":2}`, `{"a":1,"b":2,"a":1}`, `{"a":1,"A":2}`, `[{"amount":1,"Amount":1}]`,
		`{"\u0061":1}`, `{"é":1}`,
		"", " ", "{", "[", `{"a"}`, `{"a":}`, `{"a":1,}`, `[1,]`, `[1 2]`, `{a:1}`, `01`, `1.`, `.5`, `1e`, `+1`, `-`,
		`"`, `"\x"`, `"\u12g4"`, "\"\n\"", `tru`, `nul`, `truefalse`, `1 2`, `{}{}`, `'a'`, "\ufeff1",
		strings.Repeat("[", maxDepth+1) + strings.Repeat("]", maxDepth+1),
		strings.Repeat("[", 1<<20),
	} {
		if got, ok := new(canonicalizer).canonical([]byte("x"), []byte(doc), nil); ok || string(got) != "x" {
			t.Errorf("%.40s becomes %.40s, %t; want it refused", doc, got, ok)
		}
	}
}

func TestCanonicalJSONLeavesOut(t *testing.T) {
	for _, c := range []struct{ pointer, doc, want string }{
		{"/sent_at", `{"a":1,"sent_at":"now"}`, `{"a":1}`},
		{"sent_at", `{"sent_at":"now","a":1}`, `{"a":1}`},
		{"/sent_at", `{"sent_at":{"x":[1,2]}}`, `{}`},
		{"/sent_at", `{"b":{"sent_at":1}}`, `{"b":{"sent_at":1}}`},
		{"/meta/ts", `{"meta":{"ts":1,"id":2},"ts":3}`, `{"meta":{"id":2},"ts":3}`},
		{"/items/1/ts", `{"items":[{"ts":1},{"ts":2,"n":1}]}`, `{"items":[{"ts":1},{"n":1}]}`},
		{"/a~1b/c~0d", `{"a/b":{"c~d":1,"e":2}}`, `{"a/b":{"e":2}}`},
		{"/0", `[1,2]`, `[,2]`},
		{"/", `{"":1,"a":2}`, `{"a":2}`},
	} {
		left, err := newOmission([]string{c.pointer})
		if err != nil {
			t.Fatal(err)
		}
		got, ok := new(canonicalizer).canonical(nil, []byte(c.doc), left)
		if !ok || string(got) != c.want {
			t.Errorf("%s without %s becomes %s, %t; want %s", c.doc, c.pointer, got, ok, c.want)
		}
	}
}

// Whatever is canonical is valid JSON that says the same, and canonical already.
func FuzzCanonical(f *testing.F) {
	for _, s := range []string{
		`{"b":[1,{"d":null,"c":true}],"a":"x\n"}`, `[1.5e-3,-0]`, `{"a":1,"a":2}`, `{"A":1,"b":2,"a":3}`, `"\u00e9"`, `{"a":{"a":{}}}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		c := new(canonicalizer)
		first, ok := c.canonical(nil, doc, nil)
		if !ok {
			return
		}
		before, err := decoded(doc)
		if err != nil {
			t.Fatalf("%q is taken for JSON: %v", doc, err)
		}
		after, err := decoded(first)
		if err != nil {
			t.Fatalf("%q becomes %q: %v", doc, first, err)
		}
		if !equalJSON(before, after) {
			t.Fatalf("%q becomes %q, which says something else", doc, first)
		}
		if again, ok := c.canonical(nil, first, nil); !ok || !bytes.Equal(again, first) {
			t.Fatalf("%q becomes %q and then %q", doc, first, again)
		}
	})
}

func decoded(doc []byte) (v any, err error) {
	d := json.NewDecoder(bytes.NewReader(doc))
	d.UseNumber()
	err = d.Decode(&v)
	return v, err
}

func equalJSON(a, b any) bool { return reflect.DeepEqual(a, b) }
