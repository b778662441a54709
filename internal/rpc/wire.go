package rpc

import (
	"encoding/binary"
	"errors"
)

// The Protocol Buffers wire format (https://protobuf.dev/programming-guides/encoding), as far as it
// is needed here: fields that are varints or have a length.

const (
	wireVarint = 0
	wireBytes  = 2
)

var errWire = errors.New("rpc: malformed protobuf message")

func appendVarint(b []byte, field int, v uint64) []byte {
	if v == 0 {
		return b
	}
	b = binary.AppendUvarint(b, uint64(field)<<3|wireVarint)
	return binary.AppendUvarint(b, v)
}

func appendBytes[T []byte | string](b []byte, field int, v T) []byte {
	if len(v) == 0 {
		return b
	}
	return appendMessage(b, field, v)
}

// appendMessage is like appendBytes, but an empty value is there too.
func appendMessage[T []byte | string](b []byte, field int, v T) []byte {
	b = binary.AppendUvarint(b, uint64(field)<<3|wireBytes)
	b = binary.AppendUvarint(b, uint64(len(v)))
	return append(b, v...)
}

// eachField calls f for each field: with v if it is a varint, with data if it has a length.
// Fields of fixed size are skipped.
func eachField(b []byte, f func(field int, v uint64, data []byte) error) error {
	for len(b) > 0 {
		tag, n := binary.Uvarint(b)
		if n <= 0 || tag>>3 == 0 || tag>>3 > 1<<29-1 {
			return errWire
		}
		b = b[n:]
		var v uint64
		var data []byte
		switch tag & 7 {
		case wireVarint:
			if v, n = binary.Uvarint(b); n <= 0 {
				return errWire
			}
			b = b[n:]
		case wireBytes:
			length, n := binary.Uvarint(b)
			if n <= 0 || length > uint64(len(b)-n) {
				return errWire
			}
			end := n + int(length)
			data, b = b[n:end:end], b[end:]
		case 1, 5:
			size := 8
			if tag&7 == 5 {
				size = 4
			}
			if len(b) < size {
				return errWire
			}
			b = b[size:]
			continue
		default:
			return errWire
		}
		if err := f(int(tag>>3), v, data); err != nil {
			return err
		}
	}
	return nil
}
