package scope

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// MinSecret is the least length of a secret, in bytes.
const MinSecret = 16

// fromBasic takes the scope from the credentials of HTTP Basic authentication (RFC 7617).
//
// It is tempting to take the user name alone. But the gateway does not know passwords; the
// service does, and a replay does not reach it. With the name alone anybody who knows a name
// and a key would be given the response, whatever password they send. So the password is part of
// the scope, as a keyed digest: who replays must have sent what the service had accepted. The key
// is secret, since a plain digest of a password in a list of scopes could be guessed.
//
// A caller who changes the password is in another scope: what they retry after that runs again.
func fromBasic(secret []byte) (Func, error) {
	if len(secret) < MinSecret {
		return nil, fmt.Errorf("scope: basic needs a secret of at least %d bytes", MinSecret)
	}
	refused := &Error{Status: http.StatusUnauthorized, Challenge: `Basic realm="once", charset="UTF-8"`,
		Detail: "credentials of HTTP Basic authentication are missing or malformed"}
	return func(r *http.Request) (string, error) {
		if len(r.Header["Authorization"]) != 1 {
			return "", refused
		}
		user, password, ok := r.BasicAuth()
		if !ok || user == "" {
			return "", refused
		}
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte("once basic scope\x00"))
		mac.Write([]byte(user))
		mac.Write([]byte{0}) // occurs in no user name that is text
		mac.Write([]byte(password))
		name := user
		if !printable(user) || len(user) > 30 {
			name = ""
		}
		return "basic:" + name + "~" + hex.EncodeToString(mac.Sum(nil)[:20]), nil
	}, nil
}

// CheckSecretSource reports what is wrong with file:PATH or env:NAME. The secret itself is not
// accepted there: everybody on the machine can read a command line.
func CheckSecretSource(source string) error {
	kind, name, _ := strings.Cut(source, ":")
	if (kind != "file" && kind != "env") || name == "" {
		return errors.New("must be file:PATH or env:NAME")
	}
	return nil
}

// ReadSecret returns the secret from file:PATH or env:NAME.
func ReadSecret(source string) ([]byte, error) {
	kind, name, _ := strings.Cut(source, ":")
	var secret []byte
	switch kind {
	case "file":
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("scope: secret: %w", err)
		}
		secret = bytes.TrimSpace(b)
	case "env":
		secret = []byte(os.Getenv(name))
	}
	if len(secret) < MinSecret {
		return nil, fmt.Errorf("scope: secret from %s has %d bytes; at least %d are needed", source, len(secret), MinSecret)
	}
	return secret, nil
}

// KeptSecret returns the secret in the file, and makes file and secret if there is none.
func KeptSecret(path string) ([]byte, error) {
	secret, err := os.ReadFile(path)
	switch {
	case err == nil && len(secret) >= MinSecret:
		return secret, nil
	case err == nil:
		return nil, fmt.Errorf("scope: secret in %s has %d bytes; at least %d are needed", path, len(secret), MinSecret)
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("scope: secret: %w", err)
	}
	secret = []byte(rand.Text())
	if err := writeNew(path, secret); err != nil {
		return nil, fmt.Errorf("scope: secret: %w", err)
	}
	return secret, nil
}

// writeNew makes a file that is there whole or not at all, also after a crash.
func writeNew(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".secret-*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
