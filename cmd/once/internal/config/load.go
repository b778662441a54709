package config

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"slices"
	"strings"

	"github.com/oncehq/once"
)

// A value is what was written for a setting, and where.
type value struct {
	text   string
	origin string // flag, variable, or file and line
	line   int    // of the file; else 0
}

// A mistake is something wrong, and the line of the file where it is written, if it is there.
type mistake struct {
	line int
	err  error
}

// join returns the mistakes as one error, those of the file in its order.
func join(mistakes []mistake) error {
	slices.SortStableFunc(mistakes, func(a, b mistake) int { return cmp.Compare(a.line, b.line) })
	var errs []error
	for _, m := range mistakes {
		errs = append(errs, m.err)
	}
	return errors.Join(errs...)
}

// values are what was written, by the name of the setting.
type values map[string]value

// Load reads the settings from args, the environment and, if one of these names it, the file. The
// error is [flag.ErrHelp] if args ask for help, else it joins all that is wrong, each with the
// place where it is written.
func Load(args []string, lookup func(string) (string, bool)) (*Config, error) {
	list := all()
	merged, err := fromFlags(list, args)
	if err != nil {
		return nil, err
	}
	for _, s := range list {
		name := EnvName(s.name)
		if text, ok := lookup(name); ok && !merged.has(s.name) {
			merged[s.name] = value{text: text, origin: name}
		}
	}
	path, ok := merged["config"], merged.has("config")
	if !ok {
		path.text, ok = lookup(EnvName("config"))
	}
	delete(merged, "config")
	var file document
	var wrong []mistake
	if ok && path.text != "" {
		file, wrong = readFile(path.text)
		for name, v := range file.values {
			if !merged.has(name) {
				merged[name] = v
			}
		}
	}
	cfg, more := build(list, merged, file.routes)
	if err := join(append(wrong, more...)); err != nil {
		return nil, err
	}
	return cfg, nil
}

func (v values) has(name string) bool { _, ok := v[name]; return ok }

// EnvName returns the name of the environment variable of a setting.
func EnvName(setting string) string {
	return "ONCE_" + strings.ToUpper(strings.ReplaceAll(setting, "-", "_"))
}

// fromFlags returns what the flags say, unchecked, so that all errors can be told at once.
func fromFlags(list []setting[Config], args []string) (values, error) {
	fs := flag.NewFlagSet("serve", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	got := values{}
	add := func(name string, isSwitch bool) {
		fs.Var(raw{isSwitch, func(text string) { got[name] = value{text: text, origin: "--" + name} }}, name, "")
	}
	add("config", false)
	for _, s := range list {
		add(s.name, s.arg == "")
	}
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil, err
		}
		return nil, fmt.Errorf("%w; see once serve --help", err)
	}
	if fs.NArg() > 0 {
		return nil, fmt.Errorf("%q is no flag; see once serve --help", fs.Arg(0))
	}
	return got, nil
}

// raw is a flag that takes what is written.
type raw struct {
	isSwitch bool
	set      func(string)
}

func (r raw) String() string     { return "" }
func (r raw) IsBoolFlag() bool   { return r.isSwitch }
func (r raw) Set(s string) error { r.set(s); return nil }

// build makes a config of the values, or says all that is wrong with them.
func build(list []setting[Config], given values, routes []routeValues) (*Config, []mistake) {
	cfg := new(Config)
	wrong := apply(list, cfg, withInitial(list, given))
	for _, r := range routes {
		p := cfg.Policy
		wrong = append(wrong, apply(policy(), &p, r.values)...)
		wrong = append(wrong, p.fit(attemptsOf(r.values, given))...)
		cfg.Routes = append(cfg.Routes, Route{Match: r.match.text, Policy: p, Origin: r.match.origin})
	}
	wrong = append(wrong, cfg.Policy.fit(attemptsOf(given))...)
	wrong = append(wrong, checkRoutes(routes)...)
	for _, s := range list {
		if s.required != "" && !given.has(s.name) {
			wrong = append(wrong, mistake{last, fmt.Errorf("%s is missing; set it to %s, with --%s, %s or in the file",
				s.name, s.required, s.name, EnvName(s.name))})
		}
	}
	return cfg, append(wrong, cfg.check()...)
}

// last is the line of what is in no line.
const last = math.MaxInt

// attemptsOf returns the limit of attempts that was given, in the first of the places that has one.
func attemptsOf(places ...values) value {
	for _, p := range places {
		if v, ok := p["max-attempts"]; ok {
			return v
		}
	}
	return value{}
}

// fit takes the limit of attempts back where there can be but one: the default of rerun must not
// look like a wish. A limit that was given is a mistake there.
func (p *Policy) fit(given value) []mistake {
	if p.InDoubt != once.Hold {
		return nil
	}
	p.MaxAttempts = 0
	if given.origin == "" {
		return nil
	}
	return []mistake{{given.line, fmt.Errorf("%s: max-attempts is for rerun; under hold there is one attempt", given.origin)}}
}

// withInitial returns the values with those that were not given filled in.
func withInitial(list []setting[Config], given values) values {
	filled := maps.Clone(given)
	for _, s := range list {
		if s.initial != "" && !given.has(s.name) {
			filled[s.name] = value{text: s.initial, origin: "default"}
		}
	}
	return filled
}

// apply sets what there is a value for.
func apply[T any](list []setting[T], to *T, given values) []mistake {
	var wrong []mistake
	for _, s := range list {
		if v, ok := given[s.name]; ok {
			if err := s.set(to, v.text); err != nil {
				wrong = append(wrong, mistake{v.line, fmt.Errorf("%s: %s %w", v.origin, subject(s.name, v), err)})
			}
		}
	}
	return wrong
}

// subject begins the sentence that says what is wrong with a value. A DSN may have a password
// in it, and is not repeated.
func subject(name string, v value) string {
	switch {
	case name == "store":
		return "store"
	case v.line == 0: // the flag or variable has the setting's name
		return fmt.Sprintf("%q", v.text)
	}
	return fmt.Sprintf("%s: %q", name, v.text)
}

// check says what does not fit together.
func (c *Config) check() []mistake {
	var wrong []mistake
	bad := func(format string, args ...any) { wrong = append(wrong, mistake{last, fmt.Errorf(format, args...)}) }
	if (c.TLS.Cert == "") != (c.TLS.Key == "") {
		bad("tls-cert and tls-key go together; set both or none")
	}
	if c.Scope.Kind == "jwt" {
		for _, s := range []struct{ name, value string }{
			{"jwt-jwks", c.JWT.JWKS}, {"jwt-issuer", c.JWT.Issuer}, {"jwt-audience", c.JWT.Audience},
		} {
			if s.value == "" {
				bad("%s is missing; scope %s needs it", s.name, c.Scope)
			}
		}
	}
	if c.ScopeSecret != "" && c.Scope.Kind != "basic" {
		bad("scope-secret is for scope basic; scope %s has no use for it", c.Scope)
	}
	return wrong
}

// checkRoutes registers the patterns as the gateway will.
func checkRoutes(routes []routeValues) []mistake {
	var wrong []mistake
	mux := http.NewServeMux()
	for _, r := range routes {
		if err := checkPattern(mux, r.match.text); err != nil {
			wrong = append(wrong, mistake{r.match.line, fmt.Errorf("%s: match: %w", r.match.origin, err)})
		}
	}
	return wrong
}

func checkPattern(mux *http.ServeMux, pattern string) (err error) {
	method, path, ok := strings.Cut(pattern, " ")
	switch {
	case !ok:
		path = pattern
	default:
		if err := checkMethod(method); err != nil {
			return fmt.Errorf("%q %w", pattern, err)
		}
	}
	if !strings.HasPrefix(path, "/") {
		return fmt.Errorf("%q is no pattern; write for example POST /v1/charges or /v1/orders/{id}", pattern)
	}
	defer func() {
		if p := recover(); p != nil {
			// The text begins with the pattern, or says where in the program it was registered.
			text := fmt.Sprint(p)
			text = strings.TrimPrefix(text, fmt.Sprintf("parsing %q: ", pattern))
			err = fmt.Errorf("%q: %s", pattern, text[strings.LastIndex(text, "\n")+1:])
		}
	}()
	mux.Handle(pattern, http.NotFoundHandler())
	return nil
}
