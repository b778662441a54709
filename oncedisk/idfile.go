package oncedisk

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"strconv"
	"strings"
	"time"
)

// The files of a directory of ids: of each bucket first a log, later an archive.
const (
	idLogSuffix     = ".log"
	idArchiveSuffix = ".ids"
)

var idFormat = format{file: "once.ids", title: "once id store", version: 1}

// An idPeriod is the time in which the ids of a bucket were completed.
type idPeriod struct{ start, end instant }

// name is that of a bucket's file.
func (p idPeriod) name(suffix string) string { return fmt.Sprintf("%016x", uint64(p.start)) + suffix }

// isIDFile reports whether a name is that of a bucket's file with that suffix.
func isIDFile(name, suffix string) bool {
	digits, ok := strings.CutSuffix(name, suffix)
	_, err := strconv.ParseUint(digits, 16, 63)
	return ok && err == nil && len(digits) == 16 && strings.ToLower(digits) == digits
}

// over reports whether nothing of the bucket is in the window any more.
func (p idPeriod) over(now instant, window time.Duration) bool { return now >= p.end.plus(window) }

// idHeaderSize is how much of a file its header takes: a page.
const idHeaderSize = page

const idMagic = "once ids"

// An idHeader is at the start of each file of a bucket.
type idHeader struct {
	idPeriod
	count int64 // of the ids of an archive; zero for a log
}

func (h idHeader) encode() []byte {
	b := make([]byte, 0, idHeaderSize)
	b = append(b, idMagic...)
	b = binary.LittleEndian.AppendUint64(b, uint64(h.start))
	b = binary.LittleEndian.AppendUint64(b, uint64(h.end))
	b = binary.LittleEndian.AppendUint64(b, uint64(h.count))
	b = append(b, make([]byte, idHeaderSize-4-len(b))...)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// readIDHeader reads the header of a file. A file has its name only when the header is durable.
func readIDHeader(f file, path string) (idHeader, error) {
	b := make([]byte, idHeaderSize)
	if _, err := f.ReadAt(b, 0); err != nil && err != io.EOF {
		return idHeader{}, err
	}
	at := func(i int) uint64 { return binary.LittleEndian.Uint64(b[len(idMagic)+8*i:]) }
	h := idHeader{idPeriod{instant(at(0)), instant(at(1))}, int64(at(2))}
	if string(b) != string(h.encode()) || h.end < h.start || h.count < 0 {
		return idHeader{}, &DamageError{File: path, Reason: "the header is damaged"}
	}
	return h, nil
}

// createIDFile makes a file with what fill writes to it, durable under its name.
func createIDFile(v volume, name string, fill func(file) error) (file, error) {
	f, err := v.Create(name + tempSuffix)
	if err != nil {
		return nil, err
	}
	if err = fill(f); err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = v.Rename(name+tempSuffix, name)
	}
	if err == nil {
		err = v.Sync()
	}
	if err != nil {
		f.Close()
		v.Remove(name + tempSuffix)
		v.Remove(name) // not yet believed to be there
		return nil, err
	}
	return f, nil
}
