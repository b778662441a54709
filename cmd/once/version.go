package main

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"
)

// version prints what was built, and from what.
func version(_ context.Context, std stdio, args []string) error {
	if len(args) == 1 && args[0] == "--json" {
		return json.NewEncoder(std.out).Encode(map[string]string{"version": buildVersion(), "go": runtime.Version(),
			"os": runtime.GOOS, "arch": runtime.GOARCH})
	}
	if len(args) > 0 {
		return usagef("it has no arguments but --json")
	}
	fmt.Fprintf(std.out, "once %s %s %s/%s\n", buildVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return nil
}

func buildVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	version := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && (version == "" || version == "(devel)") {
			version = "(devel) " + s.Value[:min(12, len(s.Value))]
		}
	}
	return version
}
