package oncenats_test

import (
	"fmt"
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	var err error
	switch node, dsn := os.Getenv(nodeEnv), os.Getenv(workerEnv); {
	case node != "":
		err = serve(node)
	case dsn != "":
		err = work(dsn, os.Args[1])
	default:
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
