package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/oncehq/once/cmd/once/internal/config"
)

// The guide for operators names every setting with its default, and no other.
func TestOperationsNamesEverySetting(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/OPERATIONS.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, ok := strings.Cut(string(text), "| setting | default | meaning |")
	if !ok {
		t.Fatal("the table of settings is not there")
	}
	table, _, _ = strings.Cut(table, "\n\n")
	told := make(map[string]string) // the row, by the name of the setting
	for row := range strings.Lines(table) {
		cells := strings.Split(row, "|")
		if len(cells) > 3 {
			for _, name := range regexp.MustCompile("`([a-z-]+)`").FindAllStringSubmatch(cells[1], -1) {
				told[name[1]] = cells[2]
			}
		}
	}
	var help strings.Builder
	config.Help(&help)
	for _, m := range regexp.MustCompile(`(?m)^  --([a-z-]+)[^\n]*\n((?:        [^\n]*\n)+)`).FindAllStringSubmatch(help.String(), -1) {
		name, about := m[1], strings.Join(strings.Fields(m[2]), " ")
		if name == "config" {
			continue
		}
		row, ok := told[name]
		if !ok {
			t.Errorf("%s is not told", name)
		}
		delete(told, name)
		initial := regexp.MustCompile(`\(default: ([^ )]+)\)$`).FindStringSubmatch(about)
		if initial != nil && !strings.Contains(row, "`"+initial[1]+"`") {
			t.Errorf("%s: default is %s, told is %s", name, initial[1], row)
		}
		if strings.HasSuffix(about, "(required)") && !strings.Contains(row, "required") {
			t.Errorf("%s is required, told is %s", name, row)
		}
	}
	for name := range told {
		t.Errorf("%s is told, but is no setting", name)
	}
}
