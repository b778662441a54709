package config

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// A document is what a file says, unchecked but for its form.
type document struct {
	values values
	routes []routeValues
}

type routeValues struct {
	match  value
	values values
}

// A reader reads one file. It goes on after an error, to find them all.
type reader struct {
	path  string
	wrong []mistake
}

// readFile reads a YAML file: one mapping of settings to scalars or lists of them, and a list of
// routes. The syntax tree is read and not decoded into a struct, for the sake of line numbers.
func readFile(path string) (document, []mistake) {
	text, err := os.ReadFile(path)
	if err != nil {
		return document{}, []mistake{{0, fmt.Errorf("config: %w", err)}}
	}
	r := &reader{path: path}
	doc := r.document(text)
	return doc, r.wrong
}

func (r *reader) document(text []byte) document {
	doc := document{values: values{}}
	file, err := parser.ParseBytes(text, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		r.syntax(err)
		return doc
	}
	if len(file.Docs) > 1 {
		r.bad(file.Docs[1].GetToken(), "a second document; there must be one")
	}
	if len(file.Docs) == 0 || file.Docs[0].Body == nil {
		return doc
	}
	names := nameSet(all())
	r.mapping(file.Docs[0].Body, func(key value, node ast.Node) {
		switch {
		case key.text == "routes":
			doc.routes = r.routes(node)
		case names[key.text]:
			r.put(doc.values, key, node)
		default:
			names["routes"] = true
			r.unknown(key, names)
		}
	})
	return doc
}

func (r *reader) routes(node ast.Node) []routeValues {
	list, ok := node.(*ast.SequenceNode)
	if !ok {
		r.bad(node.GetToken(), "routes must be a list")
		return nil
	}
	names := nameSet(policy())
	names["match"] = true
	var routes []routeValues
	for _, item := range list.Values {
		route := routeValues{values: values{}}
		r.mapping(item, func(key value, node ast.Node) {
			switch {
			case key.text == "match":
				route.match = key
				route.match.text, _ = r.scalar(key, node)
			case names[key.text]:
				r.put(route.values, key, node)
			default:
				r.unknown(key, names)
			}
		})
		if route.match.origin == "" {
			r.bad(item.GetToken(), "a route without match; say which requests it is for")
			continue
		}
		routes = append(routes, route)
	}
	return routes
}

// mapping calls f for every key of a mapping.
func (r *reader) mapping(node ast.Node, f func(value, ast.Node)) {
	m, ok := node.(ast.MapNode)
	if !ok {
		r.bad(node.GetToken(), "must be a mapping of settings to values")
		return
	}
	seen := map[string]bool{}
	for it := m.MapRange(); it.Next(); {
		tok := it.Key().GetToken()
		key := value{tok.Value, r.at(tok), tok.Position.Line}
		if seen[key.text] {
			r.bad(tok, "%s is set twice", key.text)
		}
		seen[key.text] = true
		f(key, it.Value())
	}
}

func (r *reader) put(to values, key value, node ast.Node) {
	if text, ok := r.scalar(key, node); ok {
		to[key.text] = value{text, key.origin, key.line}
	}
}

// scalar returns a value as it would be written behind a flag: a list with commas.
func (r *reader) scalar(key value, node ast.Node) (string, bool) {
	switch n := node.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return strings.TrimSpace(n.Value.Value), true
	case *ast.BoolNode, *ast.IntegerNode, *ast.FloatNode:
		return n.GetToken().Value, true
	case *ast.SequenceNode:
		var parts []string
		for _, item := range n.Values {
			part, ok := r.scalar(key, item)
			if !ok {
				return "", false
			}
			parts = append(parts, part)
		}
		return strings.Join(parts, ","), true
	case *ast.NullNode:
		r.bad(n.GetToken(), "%s has no value", key.text)
	default:
		r.bad(node.GetToken(), "%s must have a plain value", key.text)
	}
	return "", false
}

func (r *reader) unknown(key value, names map[string]bool) {
	err := fmt.Errorf("%s: there is no setting %q", key.origin, key.text)
	if near := nearest(key.text, names); near != "" {
		err = fmt.Errorf("%w; do you mean %s?", err, near)
	}
	r.wrong = append(r.wrong, mistake{key.line, err})
}

func (r *reader) at(tok *token.Token) string {
	return fmt.Sprintf("%s:%d", r.path, tok.Position.Line)
}

func (r *reader) bad(tok *token.Token, format string, args ...any) {
	err := fmt.Errorf("%s: "+format, append([]any{r.at(tok)}, args...)...)
	r.wrong = append(r.wrong, mistake{tok.Position.Line, err})
}

// syntax tells the parser's error, without its picture of the place.
func (r *reader) syntax(err error) {
	m := mistake{err: fmt.Errorf("%s: not YAML: %w", r.path, err)}
	if se, ok := errors.AsType[yaml.Error](err); ok {
		m.line = se.GetToken().Position.Line
		m.err = fmt.Errorf("%s: not YAML: %s", r.at(se.GetToken()), se.GetMessage())
	}
	r.wrong = append(r.wrong, m)
}

func nameSet[T any](list []setting[T]) map[string]bool {
	names := map[string]bool{}
	for _, s := range list {
		names[s.name] = true
	}
	return names
}

// nearest returns the name that is at most two changes away from what was written.
func nearest(written string, names map[string]bool) string {
	best, least := "", 3
	for name := range names {
		if d := distance(written, name); d < least || (d == least && name < best) {
			best, least = name, d
		}
	}
	return best
}

// distance is the number of letters to change, add or take away (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
