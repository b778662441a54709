package stores

import (
	"cmp"
	"errors"
	"os"
	"path/filepath"
)

// DataDir returns the directory for what has no other place: the one that is given, else
// $STATE_DIRECTORY, which systemd sets for services, else $XDG_STATE_HOME/once, else
// ~/.local/state/once.
func DataDir(given string) (string, error) {
	if dir := cmp.Or(given, os.Getenv("STATE_DIRECTORY")); dir != "" {
		return dir, nil
	}
	if state := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(state) { // others are to be ignored, as its specification says
		return filepath.Join(state, "once"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", errors.New("there is no home directory; set --data-dir or ONCE_DATA_DIR")
	}
	return filepath.Join(home, ".local", "state", "once"), nil
}

// Resolve returns the DSN with the default place filled in: an empty one, or "disk:" alone, is a
// disk store in the data directory.
func Resolve(dsn, dataDir string) (string, error) {
	if dsn != "" && dsn != "disk:" && dsn != "disk" {
		return dsn, nil
	}
	dir, err := DataDir(dataDir)
	if err != nil {
		return "", err
	}
	return "disk:" + filepath.Join(dir, "store"), nil
}
