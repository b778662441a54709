package transcript_test

import (
	"embed"
	"flag"
	"os"
	"path"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"

	"github.com/oncehq/once/internal/transcript"
)

//go:embed testdata/*.txt
var files embed.FS

// update writes down what the middleware alone answers. What it wrote is to be read before it is
// believed.
var update = flag.Bool("update", false, "write the responses into the transcripts")

var buildDir string

func TestMain(m *testing.M) {
	flag.Parse()
	gin.SetMode(gin.ReleaseMode)
	var err error
	if buildDir, err = os.MkdirTemp("", "once"); err != nil {
		panic(err)
	}
	status := m.Run()
	os.RemoveAll(buildDir)
	os.Exit(status)
}

func transcripts(t *testing.T) []*transcript.Transcript {
	t.Helper()
	entries, err := files.ReadDir("testdata")
	if err != nil {
		t.Fatal(err)
	}
	var all []*transcript.Transcript
	for _, e := range entries {
		text, err := files.ReadFile(path.Join("testdata", e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		tr, err := transcript.Parse(e.Name(), string(text))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, tr)
	}
	return all
}

func TestEveryDoorAnswersTheSame(t *testing.T) {
	t.Parallel()
	for _, tr := range transcripts(t) {
		t.Run(strings.TrimSuffix(tr.Name, ".txt"), func(t *testing.T) {
			t.Parallel()
			for _, door := range doors {
				t.Run(door.name, func(t *testing.T) {
					if why := tr.Except[door.name]; why != "" {
						t.Skip(why)
					}
					d := door.open(t, tr.Settings, newService())
					if *update && door.name == doors[0].name {
						text, err := tr.Record(t.Context(), d)
						if err != nil {
							t.Fatal(err)
						}
						if err := os.WriteFile(path.Join("testdata", tr.Name), []byte(text), 0o644); err != nil {
							t.Fatal(err)
						}
						return
					}
					if err := tr.Play(t.Context(), d); err != nil {
						t.Error(err)
					}
				})
			}
		})
	}
}
