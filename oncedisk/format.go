package oncedisk

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"strings"

	"github.com/oncehq/once"
)

// The directory has these files beside the segments and their hints.
const (
	tempSuffix = ".tmp"

	// lockName is locked, never written, and stays when the store is closed: a lock file that
	// is removed can be locked by two processes under the same name.
	lockName = "lock"
)

// formatVersion is that of everything in a directory of records. Other versions are refused.
const formatVersion = 2

// A format is what a directory holds. The file by which it is known says so in words, for people
// who find the directory.
type format struct {
	file    string // its name
	title   string
	version int
}

var recordFormat = format{file: "once.disk", title: "once disk store", version: formatVersion}

// A seed is the store's secret, made when the store is. It goes into the hashes of keys, so that
// nobody can choose keys that crowd one place of the index, and into the salts of segments, so
// that nobody can hand in an outcome that reads like entries of the store.
type seed [16]byte

// hash returns the key's place in the index. Different keys may have the same.
func (s seed) hash(k once.Key) uint64 {
	var stack [2 + once.MaxScope + once.MaxID]byte
	b := binary.LittleEndian.AppendUint16(stack[:0], uint16(len(k.Scope)))
	b = append(b, k.Scope...)
	b = append(b, k.ID...)
	return sipHash(s, b)
}

// salt returns what the checksums of a segment's entries are mixed with.
func (s seed) salt(segment uint64) uint64 {
	sum := sha256.Sum256(binary.LittleEndian.AppendUint64(s[:], segment))
	return binary.LittleEndian.Uint64(sum[:])
}

// text is what the format's file says.
func (f format) text(version int, s seed) []byte {
	text := fmt.Sprintf("%s\nformat %d\nseed %x\n", f.title, version, s[:])
	return fmt.Appendf(nil, "%schecksum %08x\n", text, crc32.Checksum([]byte(text), castagnoli))
}

// read returns the store's seed. The error wraps fs.ErrNotExist if there is no store.
func (f format) read(v volume) (seed, error) {
	in, err := v.Open(f.file, false)
	if err != nil {
		return seed{}, err
	}
	defer in.Close()
	size, err := in.Size()
	if err != nil {
		return seed{}, err
	}
	text := make([]byte, min(size, 4096))
	if _, err := in.ReadAt(text, 0); err != nil {
		return seed{}, err
	}
	return f.parse(v, string(text))
}

func (f format) parse(v volume, text string) (seed, error) {
	var s seed
	var version int
	var sum uint32
	var hexSeed string
	_, err := fmt.Sscanf(text, f.title+"\nformat %d\nseed %s\nchecksum %08x\n", &version, &hexSeed, &sum)
	if version != 0 && version != f.version {
		return seed{}, fmt.Errorf("oncedisk: %s: format %d is unknown to this version, which knows %d; "+
			"use the version of once that wrote it", v.Path(f.file), version, f.version)
	}
	raw, hexErr := hex.DecodeString(hexSeed)
	body, _, _ := strings.Cut(text, "checksum ")
	if err != nil || hexErr != nil || len(raw) != len(s) || text != string(f.text(version, seed(raw))) {
		return seed{}, &DamageError{File: v.Path(f.file), Offset: int64(len(body)),
			Reason: "the format file is damaged"}
	}
	return seed(raw), nil
}

// create makes an empty directory one of this format.
func (f format) create(v volume) (seed, error) {
	var s seed
	rand.Read(s[:]) // never fails, see crypto/rand
	return s, writeWhole(v, f.file, f.text(f.version, s))
}

// writeWhole makes the file durable under its name, or leaves nothing under that name.
func writeWhole(v volume, name string, content []byte) error {
	if err := writeTemp(v, name, content); err != nil {
		return err
	}
	if err := v.Rename(name+tempSuffix, name); err != nil {
		return err
	}
	return v.Sync()
}

func writeTemp(v volume, name string, content []byte) error {
	temp := name + tempSuffix
	if err := v.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := v.Create(temp)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(content, 0)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, v.Remove(temp))
	}
	return nil
}
