package once_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

const module = "github.com/oncehq/once"

// A user of the core must inherit no dependency.
func TestRootModuleRequiresNothing(t *testing.T) {
	text, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		switch word, _, _ := strings.Cut(strings.TrimSpace(line), " "); word {
		case "module", "go", "":
		default:
			t.Errorf("go.mod has the line %q; the root module has none but module and go", strings.TrimSpace(line))
		}
	}
}

// Doors → once ← stores: once imports neither, a store no door, and nothing in the root module
// anything but the standard library and once.
func TestImportsPointToTheCore(t *testing.T) {
	doors := []string{"oncehttp", "oncemsg", "onceadmin", "with", "cmd"}
	stores := []string{"oncemem", "oncedisk", "store"}
	eachSource(t, func(file, pkg string, imports []string) {
		_, isStore := within(pkg, stores)
		for _, imp := range imports {
			rel, ours := strings.CutPrefix(imp, module+"/")
			if imp == module {
				rel, ours = ".", true
			}
			isTest := strings.HasSuffix(file, "_test.go")
			switch door, isDoor := within(rel, doors); {
			case !ours && !inOtherModule(pkg) && strings.Contains(topElement(imp), "."):
				t.Errorf("%s imports %s: the root module uses the standard library alone", file, imp)
			case ours && pkg == "." && !isTest && rel != "." && !strings.HasPrefix(rel, "internal/"):
				t.Errorf("%s imports %s: the core imports neither doors nor stores", file, imp)
			case isStore && isDoor && !isTest && rel != "oncemsg":
				t.Errorf("%s imports %s: a store knows no door", file, door)
			}
		}
	})
}

func TestFilesAreShort(t *testing.T) {
	const most = 400
	eachSource(t, func(file, _ string, _ []string) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(text), "\n"); n > most && !strings.HasSuffix(file, "_test.go") {
			t.Errorf("%s has %d lines; at most %d, one concept each", file, n, most)
		}
	})
}

func eachSource(t *testing.T, f func(file, pkg string, imports []string)) {
	t.Helper()
	err := filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") && file != "."):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(file, ".go"):
			return nil
		}
		src, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		var imports []string
		for _, imp := range src.Imports {
			imports = append(imports, strings.Trim(imp.Path.Value, `"`))
		}
		f(filepath.ToSlash(file), path.Dir(filepath.ToSlash(file)), imports)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// inOtherModule reports whether the folder, or one above it, has a go.mod of its own.
func inOtherModule(dir string) bool {
	for ; dir != "."; dir = path.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return true
		}
	}
	return false
}

func within(pkg string, roots []string) (string, bool) {
	for _, r := range roots {
		if pkg == r || strings.HasPrefix(pkg, r+"/") {
			return r, true
		}
	}
	return "", false
}

func topElement(imp string) string { s, _, _ := strings.Cut(imp, "/"); return s }
